/// A few values by key, searched from the newest on: recent entries are looked up most.
///
/// The first use of each type of Dictionary costs tens of microseconds, in which the runtime looks through every
/// conformance of the process for the key's Hashable. Public, as the compiler specializes no `package` code for another
/// module: unspecialized, each of these costs tens of microseconds too.
public struct SmallMap<Key: Sendable, Value: Sendable>: Sendable {
    @usableFromInline
    var entries: [(key: Key, value: Value)]

    @inlinable
    public init(_ entries: [(key: Key, value: Value)] = []) { self.entries = entries }
}

extension SmallMap where Key: Equatable {
    public subscript(key: Key) -> Value? {
        @inlinable get { index(of: key).map { entries[$0].value } }
        @inlinable set {
            switch (index(of: key), newValue) {
            case (let index?, let value?): entries[index].value = value
            case (let index?, nil): entries.remove(at: index)
            case (nil, let value?): entries.append((key, value))
            case (nil, nil): break
            }
        }
    }

    /// Changes the value that is there, if one is.
    @inlinable
    public mutating func update(_ key: Key, _ body: (inout Value) -> Void) {
        if let index = index(of: key) { body(&entries[index].value) }
    }

    @inlinable
    public func contains(_ key: Key) -> Bool { index(of: key) != nil }

    @inlinable
    @discardableResult
    public mutating func removeValue(forKey key: Key) -> Value? {
        index(of: key).map { entries.remove(at: $0).value }
    }

    @inlinable
    func index(of key: Key) -> Int? { entries.lastIndex { $0.key == key } }
}

extension SmallMap: Equatable where Key: Equatable, Value: Equatable {
    /// The order does not matter.
    public static func == (a: SmallMap, b: SmallMap) -> Bool {
        a.entries.count == b.entries.count && a.entries.allSatisfy { b[$0.key] == $0.value }
    }
}

extension SmallMap: ExpressibleByDictionaryLiteral {
    @inlinable
    public init(dictionaryLiteral elements: (Key, Value)...) {
        self.init(elements.map { (key: $0.0, value: $0.1) })
    }
}
