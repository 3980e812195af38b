import CNI
import JSONC
import Plans
import Records

extension PodRecord {
    /// Before anything is attached: the record with what the results will have at the least.
    func requireRoom() throws(Failure) {
        // A few small networks need no counting.
        let own = entries.reduce(0) { $0 + $1.spec.list.plugins.reduce(0) { $0 + $1.count } }
        guard own + 64 * entries.count > JSON.maximumCount / 4 else { return }
        let count = try json().count + entries.reduce(0) { $0 + $1.leastResult }
        guard count <= JSON.maximumCount else {
            throw Self.tooLarge("would have \(count) values or more")
        }
    }
}

extension PodRecord.Entry {
    /// Values that the result has at the least: each route of its address source, should that be built in.
    fileprivate var leastResult: Int {
        spec.list.plugins.reduce(0) { sum, plugin in
            guard let ipam = plugin["ipam"], let type = ipam["type"]?.string, builtins.source(type) != nil,
                !spec.external.contains(type)
            else { return sum }
            return sum + (ipam["routes"]?.count ?? 0)
        }
    }
}
