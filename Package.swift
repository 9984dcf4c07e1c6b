// swift-tools-version: 6.1
// Targets stand in the order of docs/architecture.md: a target imports only targets above it
// (Tests/ArchitectureTests holds that).
import PackageDescription

/// Strict everywhere: what the compiler can check, a reviewer need not.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// C kernels are dispatched at run time, so no `-march` here. Contraction to FMA is off: the same
/// log must give the same bits on every machine.
let cSettings: [CSetting] = [.unsafeFlags(["-O3", "-ffp-contract=off", "-fno-fast-math"])]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTesting: Target.Dependency = .product(name: "HummingbirdTesting", package: "hummingbird")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, exclude: ["README.md"], swiftSettings: strict)
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: strict)
}

let package = Package(
  name: "millrace",
  products: [
    .executable(name: "millrace", targets: ["millrace"]),
    // For programs that ask a server: deadlines, retries, connections.
    .library(name: "MillraceClient", targets: ["MillraceClient"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // C: system libraries, generated messages, kernels.
    .systemLibrary(name: "CKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
    .target(
      name: "CNGHTTP2", exclude: ["README.md"], cSettings: cSettings,
      linkerSettings: [.linkedLibrary("nghttp2"), .linkedLibrary("z")]),
    .target(
      name: "CMessages", exclude: ["README.md"], cSettings: cSettings,
      linkerSettings: [.linkedLibrary("protobuf-c")]),
    .target(
      name: "CSimdJSON", dependencies: ["CMessages"], exclude: ["README.md"], cxxSettings: [.unsafeFlags(["-O3"])],
      linkerSettings: [.linkedLibrary("simdjson")]),
    .target(name: "CKernels", exclude: ["README.md"], cSettings: cSettings),
    // Foundations.
    library("Telemetry"),
    library("Settings", [yams]),
    library("Kernels", ["CKernels"]),
    // What a model is and how it learns. No IO but files.
    library("Model", ["Settings", "Kernels", "CKernels"]),
    // Models that come from files.
    library("Bundles", ["Model", "Kernels", "CKernels"]),
    library("Families", ["Bundles", "Model", "Kernels", "CKernels"]),
    library("ONNX", ["Families", "Bundles", "Model", "Kernels", "CKernels"]),
    library("Importers", ["ONNX", "Families", "Bundles", "Model", "Settings", "Kernels", "CSimdJSON"]),
    library("ModelStore", ["ONNX", "Families", "Bundles", "Model", "Kernels", "Telemetry", logging]),
    // Events and learning.
    library("Events", ["Model", "Settings", "CMessages", "CSimdJSON"]),
    library("UpdateLog", ["Model", "Kernels", "CKernels"]),
    library("Learning", ["Events", "UpdateLog", "Model", "CKernels"]),
    // What smaller numbers cost.
    library("Quantization", ["Importers", "ONNX", "Families", "Bundles", "Events", "Model", "Kernels"]),
    // Bytes on wires.
    library("Kafka", ["CKafka", "Telemetry", logging]),
    library("EmbeddedBroker", ["CKernels", nioCore, nioPosix, logging]),
    library("RPC", ["CNGHTTP2", "Telemetry", logging, nioCore, nioPosix, nioSSL, nioTLS]),
    library("MillraceClient", ["RPC", "Events", "Model", "Settings", "CMessages", logging, nioCore]),
    // Roles.
    library("Serving", ["ModelStore", "Families", "Kafka", "Learning", "UpdateLog", "Events", "Model", "Telemetry", logging]),
    library("Training", ["Serving", "Kafka", "Learning", "UpdateLog", "Events", "Model", "Telemetry", logging]),
    library("Operations", ["Settings", "Model", "Telemetry", logging, hummingbird, lifecycle, unixSignals, nioCore]),
    library("Endpoint", [
      "Operations", "Serving", "ModelStore", "Families", "RPC", "Kafka", "Learning", "UpdateLog", "Events", "Model", "Settings", "CMessages", "Telemetry", logging,
      hummingbird, nioCore,
    ]),
    library("LoadTest", ["MillraceClient", "RPC", "Serving", "Settings", "Kafka", "UpdateLog", "Events", "Model", "Telemetry", histogram, logging, nioCore]),
    library("Demo", ["Kafka", "Events", "Model", "Telemetry", logging]),
    .executableTarget(
      name: "millrace",
      dependencies: [
        "Demo", "LoadTest", "Endpoint", "MillraceClient", "RPC", "Operations", "Training", "Serving", "EmbeddedBroker", "Kafka", "Learning",
        "Quantization", "UpdateLog", "Events", "ModelStore", "Importers", "ONNX", "Families", "Bundles", "Model", "Kernels", "CKernels", "Settings", "Telemetry",
        argumentParser, logging, lifecycle, unixSignals,
      ],
      exclude: ["README.md"], swiftSettings: strict),
    // Tests mirror the targets.
    tests("Architecture", []),
    tests("Telemetry", ["Telemetry"]),
    tests("Settings", ["Settings"]),
    tests("Kernels", ["Kernels", "CKernels", "AllocationThresholds"]),
    tests("Model", ["Model", "Settings"]),
    tests("Bundles", ["Bundles", "Model"]),
    tests("Families", ["Families", "Bundles", "Model", "Kernels", "CKernels", "AllocationThresholds"]),
    tests("ONNX", ["ONNX", "Families", "Bundles", "Model", "Kernels", "ChildProcesses", "AllocationThresholds"], exclude: ["Clients"]),
    tests("Importers", ["Importers", "ONNX", "Families", "Bundles", "Model", "Kernels", "ChildProcesses"], exclude: ["Clients"]),
    tests("ModelStore", ["ModelStore", "Importers", "ONNX", "Families", "Bundles", "Kernels", "Model", "Telemetry", logging]),
    tests("Events", ["Events", "Model", "CMessages", "CSimdJSON", "AllocationThresholds"]),
    tests("UpdateLog", ["UpdateLog", "Model", "Kernels", "AllocationThresholds"]),
    tests("Quantization", ["Quantization", "Importers", "ONNX", "Families", "Bundles", "Events", "Model", "Kernels"]),
    tests("Learning", ["Learning", "UpdateLog", "Events", "Model", "AllocationThresholds"]),
    tests("Kafka", ["Kafka", "CKafka", "EmbeddedBroker", "Telemetry", "AllocationThresholds", logging]),
    tests("EmbeddedBroker", ["EmbeddedBroker", "ChildProcesses", "CKernels", nioCore, nioPosix, logging], exclude: ["Clients"]),
    tests(
      "RPC", ["RPC", "ChildProcesses", "CNGHTTP2", "Telemetry", "AllocationThresholds", logging, nioCore, nioPosix, nioSSL],
      exclude: ["Clients"]),
    tests("MillraceClient", ["MillraceClient", "RPC", "Events", "Model", "Telemetry", logging, nioCore, nioPosix], exclude: ["golden"]),
    tests("Endpoint", [
      "Endpoint", "MillraceClient", "RPC", "Operations", "Serving", "Training", "Kafka", "EmbeddedBroker", "Learning", "UpdateLog", "Events", "Model",
      "CMessages", "Telemetry", "AllocationThresholds", "ChildProcesses", "ModelStore", "Families", "Bundles", logging, hummingbird, hummingbirdTesting, nioCore, nioPosix,
    ], exclude: ["Clients"]),
    tests("Serving", ["AllocationThresholds", "Serving", "ModelStore", "Families", "Bundles", "Training", "Kafka", "EmbeddedBroker", "Learning", "UpdateLog", "Events", "Model", "Telemetry", logging]),
    tests("Training", ["Training", "Kafka", "EmbeddedBroker", "Learning", "Events", "Model", "Telemetry", logging]),
    tests("Operations", ["Operations", "Settings", "Model", "Telemetry", logging, hummingbird, hummingbirdTesting, unixSignals, nioCore]),
    tests("LoadTest", ["LoadTest", "MillraceClient", "RPC", "Kafka", "EmbeddedBroker", "Model", "Events", "Settings", "Telemetry", logging]),
    tests("Demo", ["Demo", "Kafka", "EmbeddedBroker", "Events", "Model", "Telemetry", logging]),
    tests(
      "CommandLine", ["millrace", "MillraceClient", "Kernels", "CKernels", "Serving", "Learning", "UpdateLog", "Kafka", "Events", "Model", "ChildProcesses"],
      exclude: ["Clients"]),
    // What tests share: counting allocations, by functions that stand before the C library's.
    .target(name: "CAllocationCount", path: "Tests/Support/CAllocationCount"),
    .target(
      name: "AllocationThresholds", dependencies: ["CAllocationCount"], path: "Tests/Support/AllocationThresholds",
      swiftSettings: strict),
    // And other people's programs, run to their end.
    .target(name: "ChildProcesses", path: "Tests/Support/ChildProcesses", swiftSettings: strict),
  ],
  cLanguageStandard: .c11,
  cxxLanguageStandard: .cxx17
)

// For whoever works on one part: MILLRACE_TESTS=Kernels,Families leaves the other parts' tests out of the build.
if let wanted = Context.environment["MILLRACE_TESTS"] {
  let names = Set(wanted.split(separator: ",").map { "\($0)Tests" })
  package.targets.removeAll { $0.type == .test && !names.contains($0.name) }
}

// Fuzzers (Tests/Fuzz/run.sh builds and runs them, and names libFuzzer's archive here): the decoders and what they stand on are
// instrumented, the rest is not.
if let libFuzzer = Context.environment["MILLRACE_LIBFUZZER"] {
  let instrumented = ["CMessages", "CSimdJSON", "CKernels", "Settings", "Kernels", "Model", "Bundles", "Families", "ONNX", "Importers", "ModelStore", "Events", "UpdateLog", "EmbeddedBroker", "RPC", "Endpoint"]
  let swiftFlags = SwiftSetting.unsafeFlags(["-sanitize=address,fuzzer", "-enable-testing"])
  for target in package.targets where instrumented.contains(target.name) {
    target.swiftSettings = (target.swiftSettings ?? []) + [swiftFlags]
    target.cSettings = (target.cSettings ?? []) + [.unsafeFlags(["-fsanitize=address,fuzzer-no-link", "-g"])]
    target.cxxSettings = (target.cxxSettings ?? []) + [.unsafeFlags(["-fsanitize=address,fuzzer-no-link", "-g"])]
  }
  package.targets += [
    .target(name: "CFuzzDriver", path: "Tests/Fuzz/Sources/CFuzzDriver"),
    .executableTarget(
      name: "Fuzz",
      dependencies: [
        "CFuzzDriver", "ModelStore", "ONNX", "Bundles", "CKernels", "Endpoint", "RPC", "Serving", "Telemetry", "CMessages", "Events", "Importers", "Families", "Model", "Settings", "UpdateLog", "EmbeddedBroker", logging, nioCore,
        .product(name: "NIOEmbedded", package: "swift-nio"),
      ],
      path: "Tests/Fuzz/Sources/Fuzz", swiftSettings: strict + [swiftFlags],
      linkerSettings: [.unsafeFlags(["-sanitize=address", libFuzzer, "-lstdc++"])]),
  ]
}
