package import JSONC

/// An answer of the API server that is no success: an object `Status`, or what a proxy in front of it says.
package struct APIStatus: Error, Equatable, Sendable {
    /// Of HTTP, or that of a `Status` in a stream, which has the same numbers.
    package var code: Int
    /// `Expired`, `AlreadyExists` and so on; empty when there is none.
    package var reason: String
    package var message: String
    /// Seconds until it is worth asking again; nil when nobody says.
    package var retryAfter: Int64?
    /// The fields that were refused, as `metadata.uid`.
    package var fields: [String] = []

    package init(code: Int, reason: String = "", message: String = "", retryAfter: Int64? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.retryAfter = retryAfter
    }

    /// - Parameters:
    ///   - code: of HTTP.
    ///   - retryAfter: the header of that name.
    package init(code: Int, body: [UInt8], retryAfter: String?) {
        self.init(code: code, retryAfter: retryAfter.flatMap { Int64($0) })
        guard let json = try? JSON.parse(body).value, json["kind"]?.string == "Status" else {
            message = String(decoding: body.prefix(200), as: UTF8.self)
            return
        }
        read(json)
    }

    /// - Parameter json: an object `Status`.
    package init(_ json: JSON) {
        self.init(code: json["code"]?.int.map(Int.init) ?? 0)
        read(json)
    }

    private mutating func read(_ json: JSON) {
        reason = json["reason"]?.string ?? ""
        message = json["message"]?.string ?? ""
        let details = json["details"]
        retryAfter = retryAfter ?? details?["retryAfterSeconds"]?.int
        fields = (details?["causes"]?.array ?? []).compactMap { $0["field"]?.string }
    }

    /// What was to be continued is too old: all is to be listed again.
    package var isExpired: Bool { code == 410 || reason == "Expired" || reason == "Gone" }
    /// It is not the object that was meant, but another of the same name.
    package var isOfAnotherObject: Bool { code == 422 && fields.contains("metadata.uid") }

    package var description: String {
        let text = message.isEmpty ? reason : message
        return text.isEmpty ? "the API server answers \(code)" : "the API server answers \(code): \(text)"
    }
}
