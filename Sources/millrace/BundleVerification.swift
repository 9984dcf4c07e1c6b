import ArgumentParser
import Bundles
import Families
import Foundation
import ModelStore

/// What `millrace model verify` does with a bundle: every checksum, then the family's own checks by loading it.
struct BundleVerification {
  let path: String

  func show(json: Bool) throws {
    var problem: String?
    var bundle: ModelBundle?
    do {
      let opened = try ModelBundle.open(path: path, verifying: .everything)
      bundle = opened
      _ = try ModelStore.load(opened)
    } catch {
      problem = "\(error)"
    }
    if json {
      var object: [String: Any] = ["path": path, "whole": problem == nil, "problems": problem.map { [$0] } ?? []]
      if let bundle {
        object["model"] = bundle.manifest.identifier
        object["family"] = bundle.manifest.family
        object["sections"] = bundle.sections.count
        object["bytes"] = bundle.byteCount
      }
      try printJSON(object)
    } else {
      if let bundle { print("\(bundle.manifest.identifier)  family \(bundle.manifest.family)  \(bundle.sections.count) sections  \(byteText(bundle.byteCount))") }
      print(problem.map { "WRONG  \($0)" } ?? "whole: all checksums hold, and the model loads")
    }
    if problem != nil { throw ExitCode.failure }
  }
}
