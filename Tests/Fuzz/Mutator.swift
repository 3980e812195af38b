import JSONC

/// SplitMix64: the same numbers from the same seed, everywhere.
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var number = state
        number = (number ^ (number >> 30)) &* 0xbf58_476d_1ce4_e5b9
        number = (number ^ (number >> 27)) &* 0x94d0_49bb_1331_11eb
        return number ^ (number >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(limit, 1))) }
    mutating func chance(_ one: Int) -> Bool { below(one) == 0 }
    mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }
}

/// Makes inputs of inputs: bytes any way, JSON by its tree, netlink by its attributes.
struct Mutator {
    enum Form { case bytes, json, netlink }

    var random: Random
    let form: Form
    let seeds: [[UInt8]]
    /// Keys and words that the parser knows.
    let dictionary: [String]

    static let largest = 1 << 16

    mutating func input() -> [UInt8] {
        let seed = random.pick(seeds)
        switch form {
        case .bytes: return mutated(seed)
        case .netlink: return mutatedNetlink(seed)
        case .json:
            guard let tree = try? JSON.parse(seed).value, !random.chance(8) else { return mutated(seed) }
            var json = tree
            for _ in 0...random.below(4) { json = mutated(json) }
            let bytes = Array(json.bytes(indent: random.below(3)).prefix(Self.largest))
            return random.chance(10) ? mutated(bytes) : bytes
        }
    }

    // MARK: Bytes

    private mutating func mutated(_ seed: [UInt8]) -> [UInt8] {
        var bytes = seed
        for _ in 0...random.below(6) { change(&bytes) }
        return Array(bytes.prefix(Self.largest))
    }

    private mutating func range(_ bytes: [UInt8]) -> Range<Int> {
        let start = random.below(bytes.count + 1)
        return start..<min(bytes.count, start + random.below(random.chance(4) ? 64 : 8))
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = random.below(bytes.count + 1)
        switch random.below(10) {
        case 0: if place < bytes.count { bytes[place] ^= 1 << UInt8(random.below(8)) }
        case 1: if place < bytes.count { bytes[place] = UInt8(random.below(256)) }
        case 2: bytes.insert(UInt8(random.below(256)), at: place)
        case 3: bytes.removeSubrange(range(bytes))
        case 4: bytes.insert(contentsOf: Array(random.pick(dictionary).utf8), at: place)
        case 5: bytes.insert(contentsOf: Array(random.pick(Self.words).utf8), at: place)
        case 6:
            let part = Array(bytes[range(bytes)])
            let times = random.chance(20) ? 2000 : 1 + random.below(4)
            bytes.insert(contentsOf: (0..<times).flatMap { _ in part }, at: place)
        case 7: bytes.removeSubrange(place...)
        case 8:
            let other = random.pick(seeds)
            bytes.replaceSubrange(range(bytes), with: other[range(other)])
        default:
            // A number for a number.
            guard
                let start = bytes.indices.filter({ (0x30...0x39).contains(bytes[$0]) }).randomElement(
                    using: &random)
            else { return }
            let end = bytes[start...].firstIndex { !(0x30...0x39).contains($0) } ?? bytes.count
            bytes.replaceSubrange(start..<end, with: Array(random.pick(Self.numbers).utf8))
        }
    }

    private static let numbers = [
        "0", "-0", "-1", "1", "31", "32", "33", "127", "128", "129", "255", "256", "4094", "4095", "65535",
        "65536",
        "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "18446744073709551615", "18446744073709551616", "1e308", "1e-400", "1.5",
        "00", "1e5",
    ]

    private static let words = [
        "../", "../../outside", "/", ".", "..", "\0", "\\u0000", "\\ud800", "\\udc00", "\\u", "\"", "\\", "{",
        "}", "[",
        "]", ":", ",", "'", "\n", "\r\n", "\t", "#", "- ", "? ", "&a ", "*a", "!!str ", "| ", "> ", "%",
        "---\n", "...\n",
        "<<: ", "@", ";", "=", "::", "/33", "/129", "::ffff:1.2.3.4/120", "255.255.255.255/0", "0.0.0.0",
        "fe80::1",
        "ff:ff:ff:ff:ff:ff", "IFNAME", "\u{301}", "\u{feff}", "\u{2028}", "🙂", "null", "true", "NaN",
        "Infinity",
    ]

    // MARK: Trees

    private mutating func mutated(_ json: JSON) -> JSON {
        var place = random.below(Self.count(json))
        return edited(json, &place)
    }

    private static func count(_ json: JSON) -> Int {
        switch json {
        case .array(let values): 1 + values.reduce(0) { $0 + count($1) }
        case .object(let object): 1 + object.members.reduce(0) { $0 + count($1.value) }
        default: 1
        }
    }

    /// The value with its node at `place`, in the order of the text, changed.
    private mutating func edited(_ json: JSON, _ place: inout Int) -> JSON {
        if place == 0 {
            place = -1
            return changed(json)
        }
        place -= 1
        guard place >= 0 else { return json }
        switch json {
        case .array(var values):
            for index in values.indices where place >= 0 { values[index] = edited(values[index], &place) }
            return .array(values)
        case .object(var object):
            for index in object.members.indices where place >= 0 {
                object.members[index].value = edited(object.members[index].value, &place)
            }
            return .object(object)
        default: return json
        }
    }

    private mutating func changed(_ json: JSON) -> JSON {
        switch random.below(8) {
        case 0: return value()
        case 1:
            return random.chance(2) ? .array([json]) : .object(JSONObject([(random.pick(dictionary), json)]))
        case 2:
            let levels = random.chance(4) ? 120 + random.below(12) : random.below(8)
            return (0..<levels).reduce(json) { inner, _ in .array([inner]) }
        default: break
        }
        switch json {
        case .array(var values):
            let index = random.below(values.count)
            if values.isEmpty || random.chance(3) {
                values.append(value())
            } else if random.chance(2) {
                values += Array(repeating: values[index], count: random.chance(10) ? 300 : 2)
            } else {
                values.remove(at: index)
            }
            return .array(values)
        case .object(var object):
            let index = random.below(object.members.count)
            if object.members.isEmpty || random.chance(2) {
                object.members.insert((random.pick(dictionary), value()), at: index)
            } else if random.chance(2) {
                object.members[index].key = random.pick(dictionary)
            } else if random.chance(2) {
                object.members.append((object.members[index].key.uppercased(), value()))
            } else {
                object.members.remove(at: index)
            }
            return .object(object)
        case .string(let text):
            var bytes = Array(text.utf8)
            change(&bytes)
            return .string(String(decoding: bytes.prefix(20000), as: UTF8.self))
        case .int(let number):
            return .int(random.chance(2) ? number ^ 1 << Int64(random.below(63)) : 0 &- number)
        default: return value()
        }
    }

    private mutating func value() -> JSON {
        switch random.below(9) {
        case 0: .null
        case 1: .bool(random.chance(2))
        case 2: .int(Int64(truncatingIfNeeded: random.next()))
        case 3: .int(Int64(random.pick([-1, 0, 1, 2, 68, 1500, 4095, 65536, 1 << 31, 1 << 32])))
        case 4: .double(random.pick([0.5, -0.0, 1e300, 2.5e-308, 1500.0]))
        case 5: .string(random.pick(Self.words) + random.pick(dictionary))
        case 6: .string(String(repeating: random.pick(Self.words), count: random.chance(9) ? 5000 : 30))
        case 7: .array([])
        default: .object([:])
        }
    }

    // MARK: Netlink

    /// Lengths and types where attributes may begin; half of the time the message's own length is right again.
    private mutating func mutatedNetlink(_ seed: [UInt8]) -> [UInt8] {
        var bytes = seed
        for _ in 0...random.below(4) {
            guard bytes.count >= 20, !random.chance(4) else {
                change(&bytes)
                continue
            }
            let place = random.below(bytes.count / 4) * 4
            let lengths = [0, 3, 4, 5, 7, 8, 20, 36, bytes.count - place, bytes.count - place + 1, 0xffff]
            let number = random.chance(3) ? random.below(0x10000) : random.pick(lengths)
            let start = random.chance(3) ? place + 2 : place
            bytes[start] = UInt8(truncatingIfNeeded: number)
            bytes[start + 1] = UInt8(truncatingIfNeeded: number >> 8)
        }
        if bytes.count >= 4, random.chance(2) {
            for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: bytes.count >> (8 * index)) }
        }
        return bytes
    }
}
