import Kubernetes
import Linux
import Logging
import NIOHTTP1

/// Tells people of what happened to a pod. One that is lost is a line of the log.
actor Events {
    private let client: APIClient
    private let node: String
    private let log: Logger

    init(_ client: APIClient, node: String, _ log: Logger) {
        self.client = client
        self.node = node
        self.log = log
    }

    func tell(_ event: PodEvent) {
        log.info(
            "\(event.reason): \(event.message)", metadata: ["pod": "\(event.namespace)/\(event.name)"])
        let body = event.body(number: .random(in: 1...(1 << 60)), time: timestamp(), node: node)
        Task { [client, log] in
            do throws(Reflector.Problem) {
                _ = try await client.send(
                    .init(method: .POST, path: event.path, body: ("application/json", body)))
            } catch {
                log.warning("an event is not told: \(error.description)")
            }
        }
    }
}
