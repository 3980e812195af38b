import CNI
import JSONC
import Networking

/// What a selection asks of plugins that are not built in, and no plugin can give: portMappings of portmap, bandwidth of
/// bandwidth. Such a plugin refuses it in ADD, and again in each DEL: the pod could not go.
extension Selection {
    func refuseImpossibleRequests() throws(Failure) {
        do throws(JSONError) {
            for (index, mapping) in (capabilities["portMappings"]?.array ?? []).enumerated() {
                try Self.judge(mapping: Reader(mapping, path: "\(place).portMappings[\(index)]"))
            }
            if let bandwidth = capabilities["bandwidth"] {
                try Self.judge(bandwidth: Reader(bandwidth, path: "\(place).bandwidth"))
            }
        } catch {
            throw Failure(.badConfig, error, details: "correct the pod's annotation")
        }
    }

    private static func judge(mapping: Reader) throws(JSONError) {
        for key in ["hostPort", "containerPort"] {
            guard try mapping.int(key, in: 1...65535) != nil else {
                throw mapping.error(key, "is missing: a port, 1 to 65535")
            }
        }
        let name = try mapping.string("protocol") ?? ""
        guard ["", "tcp", "udp", "sctp"].contains(name.lowercased()) else {
            throw mapping.error("protocol", "unknown \"\(name)\": write tcp, udp or sctp")
        }
        let host = try mapping.string("hostIP") ?? ""
        guard host.isEmpty || IPAddress(parsing: host) != nil else {
            throw mapping.error("hostIP", "\"\(host)\" is no address")
        }
    }

    /// Rates in bits a second, bursts in bits, of which the kernel takes 32 bits of bytes.
    private static func judge(bandwidth: Reader) throws(JSONError) {
        let most = (Int64(UInt32.max) - 1) * 8
        for direction in ["ingress", "egress"] {
            let (rateKey, burstKey) = ("\(direction)Rate", "\(direction)Burst")
            let rate = try bandwidth.int(rateKey, in: 0...Int64.max) ?? 0
            let burst = try bandwidth.int(burstKey, in: 0...most) ?? 0
            guard (rate == 0) == (burst == 0) else {
                let (given, missing) = rate == 0 ? (burstKey, rateKey) : (rateKey, burstKey)
                throw bandwidth.error(missing, "is missing: \(given) alone means nothing")
            }
        }
    }
}
