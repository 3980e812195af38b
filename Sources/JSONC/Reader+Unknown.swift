extension Reader {
    /// Keys of this object that are not in `known`, each with the known key that it is nearly spelled as: one slip
    /// in four letters or more, two in eight or more.
    package func unknownKeys(known: [String]) -> [(key: String, suggestion: String?)] {
        (value.object?.members ?? []).compactMap { key, _ in
            known.contains { isSame($0, key) } ? nil : (key, nearest(key, known))
        }
    }

    private func nearest(_ key: String, _ known: [String]) -> String? {
        let written = folded(key)
        let allowed = written.count >= 8 ? 2 : written.count >= 4 ? 1 : 0
        let near = known.map { (name: $0, slips: slips(written, folded($0))) }.min { $0.slips < $1.slips }
        return near.flatMap { $0.slips <= allowed ? $0.name : nil }
    }
}

/// Damerau's distance: letters to insert, delete, replace, or swap with their neighbour.
private func slips(_ a: [UInt8], _ b: [UInt8]) -> Int {
    if abs(a.count - b.count) > 2 { return 3 }
    var rows = [Array(0...b.count)]
    for i in 1...max(a.count, 1) where i <= a.count {
        var row = [i]
        for j in 1...max(b.count, 1) where j <= b.count {
            var cost = min(
                rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                cost = min(cost, rows[i - 2][j - 2] + 1)
            }
            row.append(cost)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}
