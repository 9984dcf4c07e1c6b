import Foundation
import Testing

/// The committed protobuf-c code is what `protos/` gives.
@Suite struct GeneratedCodeTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static var hasCompiler: Bool {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
      .contains { FileManager.default.isExecutableFile(atPath: "\($0)/protoc-c") }
  }

  @Test(.enabled(if: hasCompiler, "protoc-c is not installed (Debian package protobuf-c-compiler): cannot compare"))
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
      let fresh = try Data(contentsOf: folder.appendingPathComponent(name))
      let committed = try Data(contentsOf: Self.root.appendingPathComponent("Sources/CMessages/\(name)"))
      #expect(fresh == committed, "\(name) is not what protos/ gives: run `make protos`")
    }
  }
}
