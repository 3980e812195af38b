import CNI
import Network
import Plans

/// Refuses an ADD whose interface exists already.
func refuseTaken(_ attachment: Attachment, _ facts: Facts) throws(Failure) {
    guard facts.links[.sandbox(attachment.interface)] == nil else {
        throw Failure(
            .generic, "interface \"\(attachment.interface)\" already exists",
            details: "a link of this name is in \(attachment.sandbox); DEL the attachment first")
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
