// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]
/// For every target above the three that talk to C.
let safe = settings + [.strictMemorySafety()]

/// `plexus-agent` with what it needs: left out with PLEXUS_PARTS=cni, as its packages take minutes to build.
let hasAgent = Context.environment["PLEXUS_PARTS"] != "cni"

let package = Package(
    name: "plexus",
    products: [.executable(name: "plexus", targets: ["plexus"])],
    dependencies: [.package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")],
    targets: [
        // No pkg-config: its -L would come before the archives that scripts/build names.
        .systemLibrary(name: "CMnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(name: "CJSON", providers: [.apt(["libjson-c-dev"])]),
        .systemLibrary(name: "CYAML", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CMD", providers: [.apt(["libmd-dev"])]),
        .target(name: "CLinux"),

        .target(name: "Networking", swiftSettings: safe),
        .target(name: "DHCP", dependencies: ["Networking"], swiftSettings: safe),
        .target(name: "JSONC", dependencies: ["Networking", "CJSON"], swiftSettings: settings),
        .target(name: "YAML", dependencies: ["JSONC", "CYAML"], swiftSettings: settings),
        .target(name: "Hashing", dependencies: ["CMD"], swiftSettings: settings),
        .target(name: "Linux", dependencies: ["Networking", "CLinux"], swiftSettings: settings),
        .target(
            name: "Netlink", dependencies: ["Networking", "Linux", "CMnl", "CLinux"], swiftSettings: settings),
        .target(name: "CNI", dependencies: ["Networking", "JSONC"], swiftSettings: safe),
        .target(name: "Kubernetes", dependencies: ["JSONC"], swiftSettings: safe),
        .target(name: "Plans", dependencies: ["CNI", "Networking", "JSONC", "Hashing"], swiftSettings: safe),
        .target(name: "Modules", dependencies: ["Plans", "CNI", "Networking", "JSONC"], swiftSettings: safe),
        .target(
            name: "IPAM", dependencies: ["Plans", "DHCP", "Linux", "Hashing", "CNI", "Networking", "JSONC"],
            swiftSettings: safe),
        .target(
            name: "Definitions", dependencies: ["Linux", "CNI", "Networking", "JSONC", "YAML"],
            swiftSettings: safe),
        .target(
            name: "Records", dependencies: ["Plans", "Linux", "CNI", "Networking", "JSONC"], swiftSettings: safe),
        .target(
            name: "Engine", dependencies: ["Plans", "Netlink", "Linux", "Hashing", "CNI", "Networking", "JSONC"],
            swiftSettings: safe),
        .target(
            name: "Renewal", dependencies: ["Engine", "IPAM", "DHCP", "Plans", "Linux", "CNI", "Networking"],
            swiftSettings: safe),
        .target(
            name: "Meta",
            dependencies: [
                "Definitions", "Records", "Modules", "IPAM", "Engine", "Plans", "Linux", "Hashing", "CNI", "Networking",
                "JSONC",
            ],
            swiftSettings: safe),
        .target(
            name: "Commands",
            dependencies: [
                "Meta", "Renewal", "Definitions", "Records", "Engine", "IPAM", "DHCP", "Plans", "Linux", "CNI",
                "JSONC", "Networking",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: safe),
        .executableTarget(
            name: "plexus", dependencies: ["Commands", "Meta", "Linux", "CNI"], swiftSettings: safe),

        // Tests may use Foundation. Those below need no root; the two last ones do.
        .target(name: "Support", path: "Tests/Support", swiftSettings: settings),
        .testTarget(name: "DHCPTests", dependencies: ["DHCP", "Networking"], swiftSettings: settings),
        .testTarget(name: "NetworkingTests", dependencies: ["Networking"], swiftSettings: settings),
        .testTarget(name: "JSONCTests", dependencies: ["JSONC", "YAML"], swiftSettings: settings),
        .testTarget(name: "CNITests", dependencies: ["CNI", "JSONC", "Networking"], swiftSettings: settings),
        .testTarget(name: "KubernetesTests", dependencies: ["Kubernetes", "JSONC"], swiftSettings: settings),
        .testTarget(name: "LinuxTests", dependencies: ["Linux", "Hashing"], swiftSettings: settings),
        .testTarget(
            name: "NetlinkTests", dependencies: ["Netlink", "Linux", "Networking", "CMnl", "CLinux"],
            swiftSettings: settings),
        .testTarget(
            name: "IPAMTests", dependencies: ["IPAM", "Plans", "CNI", "JSONC", "Networking", "Support"],
            swiftSettings: settings),
        .testTarget(name: "PlansTests", dependencies: ["Plans", "CNI", "Networking"], swiftSettings: settings),
        .testTarget(
            name: "ModulesTests", dependencies: ["Modules", "Plans", "CNI", "JSONC", "Networking"],
            swiftSettings: settings),
        .testTarget(
            name: "MetaTests",
            dependencies: [
                "Commands", "Meta", "Definitions", "Records", "Engine", "Modules", "IPAM", "Plans", "Linux", "CNI",
                "JSONC", "Networking",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "Meta", "Definitions", "Records", "Modules", "IPAM", "DHCP", "Plans", "Netlink", "Linux", "CNI",
                "JSONC", "YAML", "Networking",
            ],
            path: "Tests/Fuzz", exclude: ["seeds"], swiftSettings: settings),
        .testTarget(
            name: "NamespaceTests",
            dependencies: ["Engine", "Netlink", "Plans", "Linux", "Networking", "CNI", "Support"],
            swiftSettings: settings),
        .testTarget(name: "EndToEndTests", dependencies: ["Support"], swiftSettings: settings),
    ]
)

if hasAgent {
    package.products.append(.executable(name: "plexus-agent", targets: ["plexus-agent"]))
    package.dependencies += [
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.100.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.30.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ]
    package.targets += [
        .target(
            name: "Agent",
            dependencies: [
                "Kubernetes", "Definitions", "Records", "Meta", "Renewal", "IPAM", "Plans", "Linux", "CNI", "JSONC",
                "YAML",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "plexus-agent",
            dependencies: [
                "Agent", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings),
    ]
}
