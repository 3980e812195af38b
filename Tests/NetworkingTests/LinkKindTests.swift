import Networking
import Testing

/// The kinds' own settings, in the words of `ip link add ... type KIND`. A new kind has its rows here.
@Suite struct LinkKindTests {
    @Test func words() {
        for (kind, words) in [
            (BridgeKind(), "bridge"), (BridgeKind(vlanFiltering: true), "bridge vlan_filtering 1"),
            (.dummy, "dummy"), (.ipvlan(.l2), "ipvlan mode l2"), (.ipvlan(.l3), "ipvlan mode l3"),
            (.ipvlan(.l3s), "ipvlan mode l3s"), (.macvlan(.bridge), "macvlan mode bridge"),
            (.macvlan(.private), "macvlan mode private"), (.macvlan(.vepa), "macvlan mode vepa"),
            (.macvlan(.passthru), "macvlan mode passthru"),
            (.macvlan(.bridge, broadcastQueue: 50), "macvlan mode bridge bcqueuelen 50"),
        ] as [(any LinkKind, String)] {
            #expect(([kind.name] + kind.words).joined(separator: " ") == words)
        }
    }

    @Test func kindsAreEqualByTheirSettings() {
        let kinds: [any LinkKind] = [
            BridgeKind(), BridgeKind(vlanFiltering: true), DummyKind(), IpvlanKind(.l2), IpvlanKind(.l3),
            MacvlanKind(.vepa), MacvlanKind(.vepa, broadcastQueue: 1),
        ]
        for (one, first) in kinds.enumerated() {
            for (other, second) in kinds.enumerated() { #expect(first.isEqual(to: second) == (one == other)) }
        }
        #expect(LinkSpec("a", .dummy) == LinkSpec("a", .dummy))
        #expect(LinkSpec("a", .dummy) != LinkSpec("a", .ipvlan(.l2)))
    }

    @Test func changesAreInTheWordsOfIP() {
        for (change, words) in [
            (.up(true), "up"), (.up(false), "down"), (.mtu(1400), "mtu 1400"), (.name("a"), "name a"),
            (.mac(.zero), "address 00:00:00:00:00:00"), (.controller(3), "master 3"),
            (.controller(nil), "nomaster"), (.promiscuous(true), "promisc on"),
            (.allMulticast(true), "allmulticast on"), (.queueLength(0), "txqueuelen 0"),
            (.group(7), "group 7"), (.arp(false), "arp off"), (.multicast(true), "multicast on"),
            (.gsoSize(65536), "gso_max_size 65536"), (.gsoSegments(64), "gso_max_segs 64"),
            (.groSize(4096), "gro_max_size 4096"), (.dormant(true), "mode dormant"),
            (.dormant(false), "mode default"), (.withoutXDP(.generic), "xdpgeneric off"),
        ] as [(LinkChange, String)] { #expect("\(change)" == words) }
    }

    @Test("what a port lacks of its VLANs, and none that it has beside them")
    func missingVLANs() {
        let wanted = PortVLANs(native: 7, tagged: [10...11, 20...20])
        let native = PortVLAN(isNative: true, isUntagged: true)
        let tagged = PortVLAN(isNative: false, isUntagged: false)
        let whole: [UInt16: PortVLAN] = [7: native, 10: tagged, 11: tagged, 20: tagged, 99: tagged]
        #expect(wanted.missing(from: whole) == nil)
        for (id, found, words) in [
            (7, nil, "7"), (7, tagged, "7"), (11, nil, "10-11"),
            (20, PortVLAN(isNative: false, isUntagged: true), "20"),
        ] as [(UInt16, PortVLAN?, String)] {
            var vlans = whole
            vlans[id] = found
            let missing = wanted.missing(from: vlans)
            #expect(missing?.words == words && missing?.step.keepsDefault == true, "\(id)")
        }
        #expect(wanted.missing(from: [:])?.words == "7, 10-11, 20")
    }
}
