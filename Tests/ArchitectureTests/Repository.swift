import Foundation

/// The files of the repository, as the tests here see them.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().standardizedFileURL.path

  struct File: CustomStringConvertible {
    /// Relative to the root, with `/`.
    let path: String
    var description: String { path }

    var text: String {
      String(decoding: FileManager.default.contents(atPath: root + "/" + path) ?? Data(), as: UTF8.self)
    }

    var lines: [(number: Int, text: String)] {
      text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { ($0.offset + 1, String($0.element)) }
    }
  }

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root + "/" + path) }

  /// All files below `directory` with one of `extensions` (all when empty), in order.
  static func files(_ directory: String, _ extensions: [String] = []) -> [File] {
    guard let walk = FileManager.default.enumerator(atPath: root + "/" + directory) else { return [] }
    var paths: [String] = []
    for case let path as String in walk {
      let name = URL(fileURLWithPath: path)
      var isDirectory: ObjCBool = false
      FileManager.default.fileExists(atPath: root + "/" + directory + "/" + path, isDirectory: &isDirectory)
      if isDirectory.boolValue { continue }
      if extensions.isEmpty || extensions.contains(name.pathExtension) { paths.append(directory + "/" + path) }
    }
    return paths.sorted().map(File.init)
  }

  /// The folders directly below `directory`.
  static func folders(_ directory: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root + "/" + directory)) ?? []
    return names.filter { name in
      var isDirectory: ObjCBool = false
      FileManager.default.fileExists(atPath: root + "/" + directory + "/" + name, isDirectory: &isDirectory)
      return isDirectory.boolValue && !name.hasPrefix(".")
    }.sorted()
  }

  /// Every text that the project wrote: sources, tests, documents, scripts.
  static let written: [File] = {
    let folders = ["Sources", "Tests", "protos", "deploy", "loadtest", "docs", ".ci"].flatMap {
      files($0, ["swift", "c", "h", "cpp", "md", "yaml", "yml", "proto", "sh", "py", "json", "modulemap", ""])
    }
    let top = ["Package.swift", "Makefile", "README.md", ".gitignore", ".swift-format"].map(File.init)
    // A corpus is bytes, not text.
    return folders.filter { !$0.path.contains("/Corpus/") && !$0.path.contains("/corpus/") } + top.filter { exists($0.path) }
  }()
}
