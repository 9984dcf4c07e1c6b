import Foundation
import Testing

/// A target imports only targets above it. The order is that of Package.swift, and docs/architecture.md tells it.
@Suite struct ImportTests {
  /// Names of the targets in the order of Package.swift.
  static let targets: [String] = {
    let manifest = Repository.File(path: "Package.swift").text
    guard let start = manifest.range(of: "targets: [\n    // C:"), // Targets that only tests use come after the program's.
      let end = manifest.range(of: "// For tests:") ?? manifest.range(of: "// Tests mirror")
    else { return [] }
    let pattern = #/(?:library\("|(?:systemLibrary|target|executableTarget)\(\s*name: ")(\w+)"/#
    return manifest[start.upperBound..<end.lowerBound].matches(of: pattern).map { String($0.1) }
  }()

  /// What these may never reach, not even through their own order: decisions stay free of wires.
  static let sansIO = ["Model", "Events", "UpdateLog", "Learning", "Cluster"]
  static let wires = ["Kafka", "CKafka", "EmbeddedBroker", "RPC", "CNGHTTP2", "NIO", "NIOCore", "NIOPosix", "Hummingbird"]

  @Test func theManifestAndTheFoldersHaveTheSameTargets() {
    #expect(!Self.targets.isEmpty, "Package.swift changed its shape: teach this test to read it")
    #expect(Set(Self.targets) == Set(Repository.folders("Sources")), "a folder of Sources is a target, and the other way round")
  }

  @Test func theArchitecturePageTellsTheSameOrder() throws {
    let page = Repository.File(path: "docs/architecture.md").text
    let rows = page.matches(of: #/(?m)^\| (`[^|]*) \|/#).flatMap { row in row.1.matches(of: #/`(\w+)`/#).map { String($0.1) } }
    let told = rows.filter { Self.targets.contains($0) }
    #expect(
      told == Self.targets,
      "the table of targets in docs/architecture.md must have every target of Package.swift, in its order")
  }

  @Test func aTargetImportsOnlyTargetsAboveIt() {
    for file in Repository.files("Sources", ["swift"]) {
      let target = String(file.path.split(separator: "/")[1])
      guard let own = Self.targets.firstIndex(of: target) else { continue }
      for (line, module) in imports(file) {
        if let other = Self.targets.firstIndex(of: module) {
          #expect(
            other < own,
            "\(file):\(line) imports \(module), which stands below \(target): move the shared part up, or pass it in from where both are known")
        }
      }
    }
  }

  @Test func decisionsKnowNoWires() {
    for target in Self.sansIO where Repository.exists("Sources/\(target)") {
      for file in Repository.files("Sources/\(target)", ["swift"]) {
        for (line, module) in imports(file) {
          #expect(
            !Self.wires.contains(module) && !module.hasPrefix("NIO"),
            "\(file):\(line) imports \(module): \(target) decides and never moves bytes; return an action and let the shell do it")
        }
      }
    }
  }

  @Test func whatATargetImportsStandsInTheManifest() {
    // The compiler accepts an import of a module that another target happens to have built.
    let manifest = Repository.File(path: "Package.swift").text
    for file in Repository.files("Sources", ["swift"]) {
      let target = String(file.path.split(separator: "/")[1])
      let block = declaration(of: target, in: manifest)
      for (line, module) in imports(file) where Self.targets.contains(module) {
        #expect(block.contains("\"\(module)\""), "\(file):\(line) imports \(module): add it to \(target) in Package.swift")
      }
    }
  }

  private func declaration(of target: String, in manifest: String) -> Substring {
    guard let targets = manifest.firstRange(of: "targets: [\n    // C:") else { return "" }
    let manifest = manifest[targets.upperBound...]
    guard let start = manifest.firstRange(of: "library(\"\(target)\"") ?? manifest.firstRange(of: "name: \"\(target)\",") else { return "" }
    let rest = manifest[start.lowerBound...]
    let end = rest.dropFirst().firstRange(of: "\n    library(") ?? rest.firstRange(of: "\n    tests(")
    return end.map { rest[..<$0.lowerBound] } ?? rest
  }

  private func imports(_ file: Repository.File) -> [(Int, String)] {
    file.lines.compactMap { number, text in
      // The expression is slow, and most lines need no look.
      guard text.utf8.count < 200, text.range(of: "import ") != nil, let match = text.firstMatch(
        of: #/^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public |internal |package |private |fileprivate )?import (?:struct |class |enum |func |protocol )?(\w+)/#)
      else { return nil }
      return (number, String(match.1))
    }
  }
}
