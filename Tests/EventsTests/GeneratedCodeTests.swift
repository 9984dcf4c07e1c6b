import Foundation
import Testing

/// The committed C code and descriptors are what `protos/` gives.
@Suite struct GeneratedCodeTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static var hasCompiler: Bool {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return ["protoc", "protoc-c"].allSatisfy { name in
      folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(name)") }
    }
  }

  @Test(.enabled(if: hasCompiler, "protoc or protoc-c is not installed (Debian packages protobuf-compiler, protobuf-c-compiler): cannot compare"))
  func isUpToDate() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-protos-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let script = Process()
    script.executableURL = Self.root.appendingPathComponent("protos/generate.sh")
    script.arguments = [folder.path]
    try script.run()
    script.waitUntilExit()
    try #require(script.terminationStatus == 0)
    for name in ["millrace/events.pb-c.c", "include/millrace/events.pb-c.h", "inference/inference.pb-c.c", "include/inference/inference.pb-c.h"] {
      try compare(folder.appendingPathComponent(name), with: "Sources/CMessages/\(name)")
    }
    for (name, home) in [
      ("Health", "RPC/Services"), ("Reflection", "RPC/Services"), ("ReflectionAlpha", "RPC/Services"), ("Inference", "Endpoint/Descriptors"),
      ("Events", "Endpoint/Descriptors"), ("Ingest", "Endpoint/Descriptors"),
    ] {
      try compare(folder.appendingPathComponent("\(name)File.swift"), with: "Sources/\(home)/\(name)File.swift")
    }
  }

  private func compare(_ fresh: URL, with committed: String) throws {
    let same = try Data(contentsOf: fresh) == Data(contentsOf: Self.root.appendingPathComponent(committed))
    #expect(same, "\(committed) is not what protos/ gives: run `make protos`")
  }
}
