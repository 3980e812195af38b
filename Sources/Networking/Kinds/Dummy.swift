/// A link that drops what it is given. Kernel: drivers/net/dummy.c.
package struct DummyKind: LinkKind {
    package static let name = "dummy"

    package init() {}
}

extension LinkKind where Self == DummyKind {
    package static var dummy: DummyKind { DummyKind() }
}
