import Definitions
import Linux
import Synchronization

/// Counters, gauges and histograms of the agent, as Prometheus reads them. Text format 0.0.4.
final class Metrics: Sendable {
    private let families = Mutex<[String: Family]>([:])

    private struct Family {
        var help: String
        var type: String
        var values: [String: Double] = [:]
        var histograms: [String: Histogram] = [:]
    }

    private struct Histogram {
        var counts = [Double](repeating: 0, count: bounds.count)
        var sum = 0.0
        var count = 0.0
    }

    /// Seconds.
    private static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

    func count(
        _ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:], by amount: Double = 1
    ) {
        change(name, help, "counter") { $0.values[Self.text(labels), default: 0] += amount }
    }

    func set(_ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:], to value: Double)
    {
        change(name, help, "gauge") { $0.values[Self.text(labels)] = value }
    }

    /// - Parameter seconds: what something took.
    func observe(
        _ name: String, _ help: String, _ labels: KeyValuePairs<String, String> = [:], _ seconds: Double
    ) {
        change(name, help, "histogram") { family in
            var histogram = family.histograms[Self.text(labels)] ?? Histogram()
            for (index, bound) in Self.bounds.enumerated() where seconds <= bound {
                histogram.counts[index] += 1
            }
            histogram.sum += seconds
            histogram.count += 1
            family.histograms[Self.text(labels)] = histogram
        }
    }

    func count(_ report: CallReport) {
        observe(
            "plexus_call_duration_seconds", "What calls of the runtime took.", ["verb": report.verb],
            Double(report.microseconds) / 1e6)
        guard report.code != 0 else { return }
        count(
            "plexus_call_errors_total", "Calls that failed, by the code of their CNI error.",
            [
                "verb": report.verb, "code": "\(report.code)", "network": report.network,
                "plugin": report.plugin,
            ])
    }

    private func change(_ name: String, _ help: String, _ type: String, _ body: (inout Family) -> Void) {
        families.withLock { families in
            var family = families[name] ?? Family(help: help, type: type)
            body(&family)
            families[name] = family
        }
    }

    private static func text(_ labels: KeyValuePairs<String, String>) -> String {
        labels.map { key, value in
            let escaped = value.map { character in
                switch character {
                case "\\": "\\\\"
                case "\"": "\\\""
                case "\n": "\\n"
                default: String(character)
                }
            }
            return "\(key)=\"\(escaped.joined())\""
        }.joined(separator: ",")
    }

    /// All of them.
    var text: String {
        families.withLock { families in
            families.sorted { $0.key < $1.key }.map { name, family in
                "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.type)\n"
                    + family.values.sorted { $0.key < $1.key }.map { line(name, $0, $1) }.joined()
                    + family.histograms.sorted { $0.key < $1.key }.map { lines(name, $0, $1) }.joined()
            }.joined()
        }
    }

    private func line(_ name: String, _ labels: String, _ value: Double) -> String {
        let number = value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
        return labels.isEmpty ? "\(name) \(number)\n" : "\(name){\(labels)} \(number)\n"
    }

    private func lines(_ name: String, _ labels: String, _ histogram: Histogram) -> String {
        let more = labels.isEmpty ? "" : "\(labels),"
        var text = ""
        for (bound, count) in zip(Self.bounds, histogram.counts) {
            text += line("\(name)_bucket", "\(more)le=\"\(bound)\"", count)
        }
        return text + line("\(name)_bucket", "\(more)le=\"+Inf\"", histogram.count)
            + line("\(name)_sum", labels, histogram.sum) + line("\(name)_count", labels, histogram.count)
    }
}
