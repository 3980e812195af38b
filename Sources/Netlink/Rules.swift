internal import CLinux
internal import CMnl
internal import Glibc
package import Linux
package import Networking

// linux/fib_rules.h
enum RoutingRuleSpace {}

extension Attribute where Space == RoutingRuleSpace, Value == IPAddress {
    static var source: Self { .init(FRA_SRC) }
}
extension Attribute where Space == RoutingRuleSpace, Value == UInt32 {
    static var priority: Self { .init(FRA_PRIORITY) }
    static var table: Self { .init(FRA_TABLE) }
}

extension RouteSocket {
    /// Equivalent to: ip rule add from SOURCE table TABLE
    package mutating func add(_ rule: RoutingRule) throws(SystemError) {
        try socket.acknowledge(Self.adding(rule), "add rule \(rule.words)")
    }

    static func adding(_ rule: RoutingRule) -> Request { request(RTM_NEWRULE, create, rule) }

    package mutating func remove(_ rule: RoutingRule) throws(SystemError) {
        try socket.acknowledge(Self.request(RTM_DELRULE, 0, rule), "remove rule \(rule.words)")
    }

    private static func request(_ type: Int, _ flags: CInt, _ rule: RoutingRule) -> Request {
        let request = Request(type, flags)
        var header = fib_rule_hdr()
        header.family = UInt8(rule.source.family == .v4 ? AF_INET : AF_INET6)
        header.src_len = UInt8(rule.source.length)
        header.table = rule.table < 256 ? UInt8(rule.table) : UInt8(RT_TABLE_UNSPEC.rawValue)
        header.action = UInt8(FR_ACT_TO_TBL)
        request.extra(header)
        request.attributes(of: RoutingRuleSpace.self) {
            $0.put(.source, rule.source.address)
            if rule.table > 255 { $0.put(.table, rule.table) }
            if let priority = rule.priority { $0.put(.priority, priority) }
        }
        return request
    }
}
