import CNI
import Networking
import Plans

/// Refuses an ADD whose interface exists already.
func refuseTaken(_ attachment: Attachment, _ facts: Facts) throws(Failure) {
    guard facts.links[.sandbox(attachment.interface)] == nil else {
        throw Failure(
            .generic, "interface \"\(attachment.interface)\" already exists", details: whoHas(attachment))
    }
}

/// Whose link has the attachment's name, and what helps.
func whoHas(_ attachment: Attachment) -> String {
    let name = attachment.interface
    let isOfList = attachment.previous?.interfaces.contains { $0.name == name && !$0.isInHost }
    return isOfList == true
        ? "an earlier plugin of the list made it: of the plugins that make an interface a list has one"
        : "a link of this name is in \(attachment.sandbox); DEL the attachment first"
}

/// Keys of bridge by which pods are kept apart, and tagged: where no plugin reads them the pod would be less apart than its
/// author means.
func isolationProblem(_ key: String) -> String? {
    switch key {
    case "macspoofchk", "spoofchk", "spoofcheck", "macspoof", "macspoofcheck":
        "it checks no source address: the plugin bridge does"
    case "portisolation", "isolation", "isolated", "isolateport", "isolateports", "portisolated":
        "it isolates no port: the plugin bridge does"
    case "vlantrunk", "vlantrunks", "trunk", "trunks", "vlans":
        "it carries no trunk: the plugin bridge does, or hand over a link of one VLAN"
    default: nil
    }
}

/// The pod's link for CHECK: as the result of ADD promises it, with its sandbox and MAC address.
func promisedLink(
    _ attachment: Attachment, _ previous: CNIResult, _ facts: Facts
) throws(Failure) -> LinkFacts {
    let name = attachment.interface
    guard let promised = previous.interfaces.first(where: { $0.name == name && $0.sandbox != nil }) else {
        throw Failure(.generic, "prevResult has no interface \"\(name)\" in a sandbox", details: changed)
    }
    guard promised.sandbox == attachment.sandbox else {
        throw Failure(
            .generic,
            "sandbox \(promised.sandbox ?? "") of \(name) doesn't match configured netns \(attachment.sandbox)",
            details: "CHECK gets the namespace that ADD got")
    }
    guard let link = facts.links[.sandbox(name)] else {
        throw Failure(.generic, "container interface \"\(name)\" not found", details: changed)
    }
    if let mac = promised.mac, MAC(parsing: mac) != link.mac {
        throw Failure(
            .generic, "interface \"\(name)\" MAC doesn't match: prevResult has \(mac)", details: changed)
    }
    return link
}

/// Details of a failed CHECK.
let changed = "it was changed since ADD: DEL and ADD the attachment, or undo the change"
