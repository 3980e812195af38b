import Linux
import Netlink
import Networking
import Support
import Testing

/// Addresses and routes on a real kernel; `ip` says what happened, and makes what is to be read.
@Suite(.serialized) struct RoutesOnAKernel {
    static let inside = EngineOnAKernel.inside

    static func cidr(_ text: String) throws -> CIDR { try #require(CIDR(parsing: text)) }
    static func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(parsing: text)) }

    @Test func addressesAreAddedListedAndRemoved() throws {
        try Self.inside { node, _ in
            try Shell.sh("ip -n \(node) link add a0 type veth peer name b0")
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "a0")).index
            let texts = ["10.9.0.2/24", "10.9.1.2/31", "10.9.2.2/32", "fd09::2/64"]
            for text in texts { try socket.add(try Self.cidr(text), index: index) }
            let shown = try Tree(parsing: try Shell.sh("ip -n \(node) -j addr show a0"))[0]["addr_info"].list
            #expect(
                shown.map { "\($0["local"].string ?? "")/\($0["prefixlen"].int ?? 0)" }.sorted()
                    == texts.sorted())
            #expect(shown.compactMap { $0["broadcast"].string } == ["10.9.0.255"])
            #expect(try socket.addresses(index: index).map { "\($0.cidr)" }.sorted() == texts.sorted())
            let error = #expect(throws: SystemError.self) {
                try socket.add(try Self.cidr(texts[0]), index: index)
            }
            #expect(error?.code == .alreadyExists)
            #expect(error?.description.hasPrefix("add address 10.9.0.2/24: File exists") == true)
            for text in texts { try socket.remove(try Self.cidr(text), index: index) }
            #expect(try socket.addresses(index: index).isEmpty)
        }
    }

    @Test func addressesOfAVanishedLinkAreAnErrorNotNone() throws {
        try Self.inside { _, _ in
            var socket = try RouteSocket.open()
            let error = #expect(throws: SystemError.self) { try socket.addresses(index: 4242) }
            #expect(error?.code == .noSuchDevice)
            #expect(try socket.link(named: "lo") != nil)
        }
    }

    @Test func aListOfManyBuffersIsComplete() throws {
        try Self.inside { node, _ in
            try Shell.sh(
                """
                for i in $(seq 0 3); do for j in $(seq 1 250); do echo "addr add 10.7.$i.$j/32 dev lo"; done; done |
                    ip -n \(node) -batch -
                """)
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "lo")).index
            let found = try socket.addresses(index: index).filter { $0.cidr.length == 32 }
            #expect(Set(found.map(\.cidr)).count == 1000)
        }
    }

    @Test func routesAreAddedBesideOneAnotherAndRemoved() throws {
        try Self.inside { node, _ in
            var socket = try RouteSocket.open()
            #expect(try socket.routes(family: .v4).isEmpty)
            try NetlinkOnAKernel.pair(node)
            let index = try #require(try socket.link(named: "a0")).index
            let gateway = try Self.ip("10.9.0.1")
            let full = Route(
                try Self.cidr("10.8.0.0/16"), via: gateway, mtu: 1300, advmss: 1200, priority: 7)
            let distant = Route(try Self.cidr("10.6.0.0/16"), via: gateway, table: 300)
            let onLink = Route(try Self.cidr("fd08::/64"))
            for route in [full, distant, onLink, Route(.everywhere(.v6), via: try Self.ip("fd09::1"))] {
                try socket.add(route, index: index)
            }
            let shown = try Tree(parsing: try Shell.sh("ip -n \(node) -j route show 10.8.0.0/16"))[0]
            #expect(shown["gateway"].string == "10.9.0.1")
            #expect(shown["dev"].string == "a0")
            #expect(shown["metric"].int == 7)
            #expect(shown["metrics"][0]["mtu"].int == 1300)
            #expect(shown["metrics"][0]["advmss"].int == 1200)
            #expect(try Shell.sh("ip -n \(node) route show table 300").contains("10.6.0.0/16 via 10.9.0.1"))
            #expect(try Shell.sh("ip -n \(node) -6 route").contains("default via fd09::1 dev a0"))
            #expect(try Shell.sh("ip -n \(node) -6 route").contains("fd08::/64 dev a0"))
            let again = #expect(throws: SystemError.self) { try socket.add(full, index: index) }
            #expect(again?.code == .alreadyExists)
            // Another way to the same place, with a metric of its own.
            var second = full
            second.gateway = try Self.ip("10.9.0.3")
            second.priority = 8
            try socket.add(second, index: index)
            for route in [full, second, distant, onLink] { try socket.remove(route, index: index) }
            #expect(try !Shell.sh("ip -n \(node) route show table all").contains("10.8.0.0"))
            #expect(try !Shell.sh("ip -n \(node) -6 route").contains("fd08::/64"))
        }
    }

    @Test func routesAreReadAsIPMadeThem() throws {
        try Self.inside { node, _ in
            try NetlinkOnAKernel.pair(node)
            try Shell.sh(
                """
                ip -n \(node) route add default via 10.9.0.1 metric 5
                ip -n \(node) route add 10.8.0.0/16 nexthop via 10.9.0.1 nexthop via 10.9.0.3
                ip -n \(node) route add 10.6.0.0/16 via 10.9.0.1 table 300
                ip -n \(node) route add blackhole 10.5.0.0/16
                ip -n \(node) -6 route add fd08::/64 via fd09::1
                """)
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "a0")).index
            let found = try socket.routes(family: .v4)
            #expect(found.allSatisfy { $0.index == index })
            let wide = try Self.cidr("10.8.0.0/16")
            #expect(
                Set(found.map(\.route)) == [
                    Route(.everywhere(.v4), via: try Self.ip("10.9.0.1"), priority: 5),
                    Route(try Self.cidr("10.9.0.0/24"), via: nil, scope: 253),
                    Route(wide, via: try Self.ip("10.9.0.1")),
                    Route(wide, via: try Self.ip("10.9.0.3")),
                ])
            let six = try socket.routes(family: .v6).map(\.route)
            #expect(six.contains(Route(try Self.cidr("fd08::/64"), via: try Self.ip("fd09::1"))))
        }
    }

    @Test func aRefusalKeepsTheKernelsWords() throws {
        try Self.inside { node, _ in
            try NetlinkOnAKernel.pair(node)
            var socket = try RouteSocket.open()
            let index = try #require(try socket.link(named: "a0")).index
            let route = Route(try Self.cidr("10.8.0.0/16"), via: try Self.ip("10.77.0.1"))
            let error = #expect(throws: SystemError.self) { try socket.add(route, index: index) }
            #expect(
                error?.description == "add route 10.8.0.0/16 via 10.77.0.1: Network is unreachable"
                    + " (Nexthop has invalid gateway)")
        }
    }
}
