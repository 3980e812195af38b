package import CNI
package import JSONC
package import Networking

/// What an ADD left behind that DEL and CHECK want to know.
package struct Attached: Equatable, Sendable {
    package var result: CNIResult
    /// Sysctls as they were before, by path.
    package var saved: [String: String]
    /// The index of the pod's link, which the pod cannot change; nil when there is none, or in a record that does not say.
    package var index: Int32?
    /// The host's device that the pod has, should the device's note in /run be lost.
    package var device: Device?
    /// Addresses that built-in sources gave; nil in a record that does not say.
    package var given: [IPAddress]?
    /// Its bridges in the host that kept VLANs apart.
    package var vlanBridges: [String] = []
    /// False until ADD has finished: there is no result yet.
    package var isWhole = true
    /// What the device is, for network-status: NPWG device information.
    package var deviceInfo: JSON?
    /// The external plugin that refused the ADD, when its undo failed as well.
    package var refusal: Refusal?

    package struct Refusal: Equatable, Sendable {
        package var type: String
        /// Seconds since 1970.
        package var time: Int64

        package init(type: String, time: Int64) {
            self.type = type
            self.time = time
        }
    }

    package init(result: CNIResult, saved: [String: String] = [:], given: [IPAddress]? = nil) {
        self.result = result
        self.saved = saved
        self.given = given
    }

    /// Of an attachment that is not there yet.
    package init(saved: [String: String]) {
        self.init(result: CNIResult(), saved: saved)
        isWhole = false
    }
}
