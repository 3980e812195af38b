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

let package = Package(
    name: "plexus",
    products: [.executable(name: "plexus", targets: ["plexus"])],
    dependencies: [.package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")],
    targets: [
        .systemLibrary(name: "CMnl", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(name: "CJSON", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CMD", pkgConfig: "libmd", providers: [.apt(["libmd-dev"])]),
        .target(name: "CLinux"),

        .target(name: "Network", swiftSettings: safe),
        .target(name: "JSONC", dependencies: ["CJSON"], swiftSettings: settings),
        .target(name: "YAML", dependencies: ["JSONC", "CYAML"], swiftSettings: settings),
        .target(name: "Linux", dependencies: ["CLinux", "CMD"], swiftSettings: settings),
        .target(name: "Netlink", dependencies: ["Network", "Linux", "CMnl", "CLinux"], swiftSettings: settings),
        .target(name: "CNI", dependencies: ["Network", "JSONC"], swiftSettings: safe),
        .target(name: "Plans", dependencies: ["CNI", "Network", "JSONC"], swiftSettings: safe),
        .target(name: "Modules", dependencies: ["Plans", "CNI", "Network", "JSONC"], swiftSettings: safe),
        .target(
            name: "IPAM", dependencies: ["Plans", "Linux", "CNI", "Network", "JSONC"], swiftSettings: safe),
        .target(
            name: "Engine", dependencies: ["Plans", "Netlink", "Linux", "CNI", "Network", "JSONC"],
            swiftSettings: safe),
        .target(
            name: "Meta",
            dependencies: ["Modules", "IPAM", "Engine", "Plans", "Linux", "CNI", "Network", "JSONC", "YAML"],
            swiftSettings: safe),
        .target(
            name: "Commands",
            dependencies: [
                "Meta", "Engine", "Plans", "Linux", "CNI", "JSONC",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: safe),
        .executableTarget(
            name: "plexus", dependencies: ["Commands", "Meta", "Linux", "CNI"], swiftSettings: safe),
    ]
)
