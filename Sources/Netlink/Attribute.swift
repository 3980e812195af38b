internal import CLinux
internal import Networking

/// A netlink attribute: its number, the space that it belongs to, and the type of its value, declared together.
struct Attribute<Space, Value>: Sendable {
    let number: UInt16
    init(_ number: some BinaryInteger) { self.number = UInt16(number) }
}

/// The value of an attribute that holds attributes of another space.
enum Nest<Space> {}
/// A value in network byte order.
struct BigEndian<Value: FixedWidthInteger & Sendable>: Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

// linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/veth.h
enum LinkSpace {}
enum NamespaceSpace {}
enum PropertySpace {}
enum InfoSpace {}
enum VethSpace {}
enum BridgeSpace {}
enum MACVLANSpace {}
enum IPVLANSpace {}
enum PortSpace {}
enum XDPSpace {}
enum BridgeFamilySpace {}
enum AddressSpace {}
enum RouteSpace {}
enum MetricsSpace {}

extension Attribute where Space == LinkSpace, Value == String {
    static var name: Self { .init(IFLA_IFNAME) }
    static var alias: Self { .init(IFLA_IFALIAS) }
}
extension Attribute where Space == LinkSpace, Value == UInt32 {
    static var mtu: Self { .init(IFLA_MTU) }
    static var parent: Self { .init(IFLA_LINK) }
    static var controller: Self { .init(IFLA_MASTER) }
    static var namespace: Self { .init(IFLA_NET_NS_FD) }
    static var group: Self { .init(IFLA_GROUP) }
    static var targetNamespace: Self { .init(IFLA_TARGET_NETNSID) }
    static var queueLength: Self { .init(IFLA_TXQLEN) }
    static var extensionMask: Self { .init(IFLA_EXT_MASK) }
    static var gsoSize: Self { .init(IFLA_GSO_MAX_SIZE) }
    static var gsoSegments: Self { .init(IFLA_GSO_MAX_SEGS) }
    static var groSize: Self { .init(IFLA_GRO_MAX_SIZE) }
}
extension Attribute where Space == LinkSpace, Value == Nest<XDPSpace> {
    static var xdp: Self { .init(IFLA_XDP) }
}
extension Attribute where Space == XDPSpace, Value == UInt32 {
    static var program: Self { .init(IFLA_XDP_FD) }
    static var flags: Self { .init(IFLA_XDP_FLAGS) }
}
extension Attribute where Space == LinkSpace, Value == UInt8 {
    static var linkMode: Self { .init(IFLA_LINKMODE) }
}
extension Attribute where Space == LinkSpace, Value == Nest<PropertySpace> {
    static var properties: Self { .init(IFLA_PROP_LIST) }
}
extension Attribute where Space == PropertySpace, Value == String {
    static var alternativeName: Self { .init(IFLA_ALT_IFNAME) }
}
extension Attribute where Space == NamespaceSpace, Value == UInt32 {
    static var descriptor: Self { .init(NETNSA_FD) }
}
extension Attribute where Space == LinkSpace, Value == MAC {
    static var mac: Self { .init(IFLA_ADDRESS) }
}
extension Attribute where Space == LinkSpace, Value == Nest<InfoSpace> {
    static var info: Self { .init(IFLA_LINKINFO) }
}
extension Attribute where Space == LinkSpace, Value == Nest<PortSpace> {
    /// The flag tells the kernel that the port's settings are nested, not one byte.
    static var port: Self { .init(IFLA_PROTINFO | Int(NLA_F_NESTED)) }
}
extension Attribute where Space == InfoSpace, Value == String {
    static var kind: Self { .init(IFLA_INFO_KIND) }
}
extension Attribute where Space == InfoSpace, Value == Nest<VethSpace> {
    static var veth: Self { .init(IFLA_INFO_DATA) }
}
extension Attribute where Space == InfoSpace, Value == Nest<BridgeSpace> {
    static var bridge: Self { .init(IFLA_INFO_DATA) }
}
extension Attribute where Space == InfoSpace, Value == Nest<MACVLANSpace> {
    static var macvlan: Self { .init(IFLA_INFO_DATA) }
}
extension Attribute where Space == InfoSpace, Value == Nest<IPVLANSpace> {
    static var ipvlan: Self { .init(IFLA_INFO_DATA) }
}
extension Attribute where Space == IPVLANSpace, Value == UInt16 {
    static var mode: Self { .init(IFLA_IPVLAN_MODE) }
    static var flags: Self { .init(IFLA_IPVLAN_FLAGS) }
}
extension Attribute where Space == BridgeSpace, Value == UInt8 {
    static var vlanFiltering: Self { .init(IFLA_BR_VLAN_FILTERING) }
}
extension Attribute where Space == MACVLANSpace, Value == UInt32 {
    static var mode: Self { .init(IFLA_MACVLAN_MODE) }
    static var broadcastQueue: Self { .init(IFLA_MACVLAN_BC_QUEUE_LEN) }
}
extension Attribute where Space == PortSpace, Value == UInt8 {
    static var hairpin: Self { .init(IFLA_BRPORT_MODE) }
    static var isolated: Self { .init(IFLA_BRPORT_ISOLATED) }
}
extension Attribute where Space == LinkSpace, Value == Nest<BridgeFamilySpace> {
    static var bridgeFamily: Self { .init(IFLA_AF_SPEC) }
}
extension Attribute where Space == BridgeFamilySpace, Value == [UInt8] {
    /// `struct bridge_vlan_info`.
    static var vlan: Self { .init(IFLA_BRIDGE_VLAN_INFO) }
}
extension Attribute where Space == AddressSpace, Value == IPAddress {
    static var local: Self { .init(IFA_LOCAL) }
    static var address: Self { .init(IFA_ADDRESS) }
    static var broadcast: Self { .init(IFA_BROADCAST) }
}
extension Attribute where Space == AddressSpace, Value == [UInt8] {
    static var cacheInfo: Self { .init(IFA_CACHEINFO) }
}
extension Attribute where Space == RouteSpace, Value == IPAddress {
    static var destination: Self { .init(RTA_DST.rawValue) }
    static var gateway: Self { .init(RTA_GATEWAY.rawValue) }
}
extension Attribute where Space == RouteSpace, Value == UInt32 {
    static var link: Self { .init(RTA_OIF.rawValue) }
    static var priority: Self { .init(RTA_PRIORITY.rawValue) }
    static var table: Self { .init(RTA_TABLE.rawValue) }
}
extension Attribute where Space == RouteSpace, Value == Nest<MetricsSpace> {
    static var metrics: Self { .init(RTA_METRICS.rawValue) }
}
extension Attribute where Space == MetricsSpace, Value == UInt32 {
    static var mtu: Self { .init(RTAX_MTU) }
    static var advmss: Self { .init(RTAX_ADVMSS) }
}
