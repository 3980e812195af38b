package import Network

extension Step {
    /// The case's own name, such as `addVeth`.
    package var name: String { String("\(self)".prefix { $0 != "(" }) }

    /// The commands a person would have typed; `ip -n POD` stands for the sandbox. Names and values are quoted: pods'
    /// authors choose them, and the lines are there to be copied. A link's name has `dev` or `name` in front of it, as it may
    /// be one of ip's own words.
    package func commands() -> [String] {
        switch self {
        case .ensureBridge(let spec):
            let mtu = spec.mtu.map { " mtu \($0)" } ?? ""
            let filtering = spec.vlanFiltering ? " vlan_filtering 1" : ""
            return [
                "ip link add name \(shellQuoted(spec.name)) address \(spec.mac)\(mtu) up type bridge\(filtering)  # unless it exists"
            ]
        case .addLink(let spec, let place, let parent):
            let mtu = spec.mtu.map { " mtu \($0)" } ?? ""
            let mac = spec.mac.map { " address \($0)" } ?? ""
            let link = parent.map { " link \($0.word)" } ?? ""
            let crossing = place == .sandbox && parent?.place == .host
            let into = crossing ? " netns POD" : ""
            return [
                "\(ip(crossing ? .host : place)) link add\(link) name \(shellQuoted(spec.name))\(mac)\(mtu)\(into) type \(spec.kind.words)"
            ]
        case .addVeth(let veth):
            let mtu = veth.mtu.map { " mtu \($0)" } ?? ""
            let port = veth.controller.map { " master \(shellQuoted($0))" } ?? ""
            return [
                "ip link add name \(shellQuoted(veth.peer)) address \(veth.peerMAC)\(mtu)\(port) up type veth"
                    + " peer name \(shellQuoted(veth.name)) address \(veth.mac)\(mtu) netns POD"
            ]
        case .deleteLink(let link): return ["\(ip(link.place)) link delete dev \(link.word)"]
        case .change(let link, let change, _):
            return ["\(ip(link.place)) link set dev \(link.word) \(change.words)"]
        case .setPort(let name, let port):
            let words = [port.hairpin.map { ("hairpin", $0) }, port.isolated.map { ("isolated", $0) }]
                .compactMap(\.self).map { "\($0.0) \($0.1 ? "on" : "off")" }
            return ["bridge link set dev \(shellQuoted(name)) \(words.joined(separator: " "))"]
        case .setVLANs(let name, let vlans): return vlans.commands(port: name)
        case .ensureVLANInterface(let link):
            let (name, peer) = (shellQuoted(link.name), shellQuoted(link.peer))
            let mtu = link.mtu.map { " mtu \($0)" } ?? ""
            return [
                "ip link add name \(peer)\(mtu) master \(shellQuoted(link.bridge)) up type veth peer name \(name)\(mtu)"
                    + "  # unless it exists"
            ] + link.portVLANs.commands(port: link.peer) + ["ip link set dev \(name) up"]
        case .addAddress(let cidr, let link):
            return ["\(ip(link.place)) addr add \(cidr) dev \(link.word)"]
        case .removeAddress(let cidr, let link):
            return ["\(ip(link.place)) addr delete \(cidr) dev \(link.word)"]
        case .ensureAddress(let cidr, let link, let nodad):
            let flag = nodad && cidr.family == .v6 ? " nodad" : ""
            return ["\(ip(link.place)) addr replace \(cidr) dev \(link.word)\(flag)"]
        case .addRoute(let route, let link):
            return ["\(ip(link.place)) route prepend \(route.words) dev \(link.word)"]
        case .removeRoute(let route, let link):
            return ["\(ip(link.place)) route delete \(route.words) dev \(link.word)"]
        case .removeFound(let found):
            return ["ip -n POD route delete \(found.route.words) dev \(shellQuoted(found.link))"]
        case .restoreFound(let found):
            return ["ip -n POD route append \(found.route.words) dev \(shellQuoted(found.link))"]
        case .sysctl(let change):
            let enter = change.place == .sandbox ? "ip netns exec POD " : ""
            return ["\(enter)sysctl -w \(shellQuoted("\(change.path)=\(change.value)"))"]
        case .settle(let link): return ["# wait until no address of \(link.word) is tentative"]
        case .awaitCarrier(let link): return ["# wait until \(link.word) is operational"]
        case .masquerade(let rule):
            guard rule.backend == .nftables else {
                return rule.addresses.map {
                    let program = $0.family == .v4 ? "iptables" : "ip6tables"
                    return "\(program) -t nat -A POSTROUTING -s \($0.address)"
                        + " ! -d \($0.network) -j MASQUERADE  # in a chain of its own"
                }
            }
            let table = "inet cni_plugins_masquerade"
            return [
                "nft add table \(table)", "nft add chain \(table) masq_checks",
                "nft add chain \(table) postrouting '{ type nat hook postrouting priority 100; }'",
                "nft flush chain \(table) postrouting",
                "nft add rule \(table) postrouting ip daddr 224.0.0.0/4 return",
                "nft add rule \(table) postrouting ip6 daddr ff00::/8 return",
                "nft add rule \(table) postrouting goto masq_checks",
            ]
                + rule.addresses.map {
                    let family = $0.family == .v4 ? "ip" : "ip6"
                    return "nft add rule \(table) masq_checks \(family) saddr \($0.address)"
                        + " \(family) daddr != \($0.network) masquerade"
                }
        case .removeMasquerade(let rule):
            return [
                "# delete the masquerade rules of \(rule.id.containerID) \(shellQuoted(rule.id.interface))"
            ]
        case .takeDevice(let device):
            let name = shellQuoted(device.name)
            return ["ip link set dev \(name) netns POD name \(shellQuoted(device.interface)) alias \(name)"]
        case .returnDevice(let device):
            let name = shellQuoted(device.name)
            let up = device.wasUp ? ["ip link set dev \(name) up"] : []
            let own = shellQuoted(device.interface)
            return ["ip -n POD link set dev \(own) netns HOST name \(name) alias ''"] + up
        case .renameDevice(let name, let device):
            return ["ip link set dev \(shellQuoted(name)) name \(shellQuoted(device.name)) alias ''"]
        case .writeFile(let path, let text):
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            return [
                "mkdir -p \(shellQuoted("/\(folder)"))",
                "printf %s \(shellQuoted(text)) >\(shellQuoted(path))",
            ]
        case .removeFile(let path): return ["rm \(shellQuoted(path))"]
        case .spoofCheck(let check):
            if let remark = untypable(check.id) { return [remark] }
            let chain = shellQuoted(chain(of: check.id))
            let inner = shellQuoted("\(self.chain(of: check.id))-mac")
            return [
                "nft add table bridge nat",
                "nft add chain bridge nat PREROUTING '{ type filter hook prerouting priority -300; }'",
                "nft add chain bridge nat \(chain)", "nft add chain bridge nat \(inner)",
                "nft add rule bridge nat PREROUTING iifname \"\(check.port)\" jump \(chain)",
                "nft add rule bridge nat \(chain) jump \(inner)",
                "nft add rule bridge nat \(inner) ether saddr \(check.mac) return",
                "nft add rule bridge nat \(inner) drop",
            ]
        case .removeSpoofCheck(let id):
            if let remark = untypable(id) { return [remark] }
            return ["nft delete chain bridge nat \(shellQuoted(chain(of: id)))"]
        }
    }

    /// The grammar of nft has no quotes for names; over netlink they may be anything.
    private func untypable(_ id: AttachmentID) -> String? {
        let isPlain = id.interface.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "_-./".utf8.contains($0)
        }
        return isPlain ? nil : "# nft cannot be told the name of the chain \(visible(chain(of: id)))"
    }

    private func chain(of id: AttachmentID) -> String { "cni-br-iface-\(id.containerID)-\(id.interface)" }

    private func ip(_ place: Place) -> String {
        place == .sandbox ? "ip -n POD" : "ip"
    }
}

extension LinkName {
    fileprivate var word: String { shellQuoted(name) }
}

extension LinkSpec.Kind {
    fileprivate var words: String {
        switch self {
        case .macvlan(let mode, let queue):
            "macvlan mode \(mode.name)" + (queue.map { " bcqueuelen \($0)" } ?? "")
        case .ipvlan(let mode): "ipvlan mode \(mode.name)"
        case .bridge, .other: name
        }
    }
}

extension PortVLANs {
    fileprivate func commands(port: String) -> [String] {
        let port = shellQuoted(port)
        let cleared = keepsDefault ? [] : ["bridge vlan delete dev \(port) vid 1-4094"]
        return cleared + ["bridge vlan add dev \(port) vid \(native) pvid untagged"]
            + tagged.map {
                let ids = $0.count > 1 ? "\($0.lowerBound)-\($0.upperBound)" : "\($0.lowerBound)"
                return "bridge vlan add dev \(port) vid \(ids)"
            }
    }
}

extension LinkChange {
    fileprivate var words: String {
        switch self {
        case .up(let up): up ? "up" : "down"
        case .mtu(let bytes): "mtu \(bytes)"
        case .mac(let mac): "address \(mac)"
        case .promiscuous(let on): "promisc \(on ? "on" : "off")"
        case .allMulticast(let on): "allmulticast \(on ? "on" : "off")"
        case .queueLength(let packets): "txqueuelen \(packets)"
        }
    }
}

extension Route {
    /// As `ip route` takes it.
    package var words: String {
        var words = [isDefault ? "default" : "\(destination)"]
        if let gateway { words.append("via \(gateway)") }
        if let priority { words.append("metric \(priority)") }
        if let table { words.append("table \(table)") }
        if let scope { words.append("scope \(scope)") }
        if let mtu { words.append("mtu \(mtu)") }
        if let advmss { words.append("advmss \(advmss)") }
        return words.joined(separator: " ")
    }
}
