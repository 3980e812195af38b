/// What is due when: a heap of times, each with a name.
struct Agenda {
    private var heap: [(time: Int64, name: String)] = []
    private var times: [String: Int64] = [:]

    /// - Parameter time: nil for never.
    mutating func set(_ name: String, _ time: Int64?) {
        times[name] = time
        guard let time else { return }
        heap.append((time, name))
        var place = heap.count - 1
        while place > 0, heap[(place - 1) / 2].time > heap[place].time {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// The next time; nil when nothing is due ever.
    var first: Int64? {
        mutating get {
            dropStale()
            return heap.first?.time
        }
    }

    /// The name of what is due first, taken out; nil when nothing is.
    mutating func popDue(_ now: Int64) -> String? {
        dropStale()
        guard let (time, name) = heap.first, time <= now else { return nil }
        pop()
        times[name] = nil
        return name
    }

    /// Entries whose time was set anew since.
    private mutating func dropStale() {
        while let (time, name) = heap.first, times[name] != time { pop() }
    }

    private mutating func pop() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            let children = [2 * place + 1, 2 * place + 2].filter { $0 < heap.count }
            guard let least = children.min(by: { heap[$0].time < heap[$1].time }),
                heap[least].time < heap[place].time
            else { return }
            heap.swapAt(place, least)
            place = least
        }
    }
}
