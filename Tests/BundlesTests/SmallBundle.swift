import Bundles
import Foundation
import Model
import Testing

/// A bundle with one of everything: small sections, an empty one, a large one, names that are no ASCII.
enum SmallBundle {
  static var manifest: BundleManifest {
    var manifest = BundleManifest(
      name: "small", version: 3, family: "linear",
      inputs: [
        InputTensor(name: "input", shape: [2], columns: ["a", "ü"], absent: .nan, categories: categories), InputTensor(name: "more", element: .int64, shape: [], offset: 8),
      ],
      outputs: [OutputTensor(name: "score"), OutputTensor(name: "label", element: .text, shape: [], texts: ["no", "yes"])],
      specification: "name: small\n", maxBatchSize: 64, labels: ["stable"],
      source: .init(tool: "test", toolVersion: "1", file: "small.txt", byteCount: 12, checksum: 0xFFFF_FFFF),
      parameters: ["link": "sigmoid", "scale": 1.5, "list": [1, 2, 3], "nothing": .null, "yes": true, "none": JSONValue(-Double.infinity)])
    manifest.quantization = ["precision": "int8"]
    manifest.evaluation = ["auc": 0.75]
    manifest.others = ["later": [1, "two"]]
    return manifest
  }

  static var categories: [ColumnCategories] {
    let kinds: [CategoryName] = [.text("AA"), .text("Ünï \""), .text(""), .integer(-3), .integer(.max), .number(2.5), .number(7), .boolean(true)]
    return [kinds, [.text("a")]].enumerated().compactMap { column, names in
      (try? CategoryNames(names)).map { ColumnCategories(column: column, names: $0) }
    }
  }

  static let weights: [Float] = [0.5, -1.25]
  static let large: [UInt8] = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

  static func writer(hasLarge: Bool = true) -> BundleWriter {
    let writer = BundleWriter(manifest: manifest)
    writer.add("weights", element: .float32, weights)
    writer.add("bias", element: .float64, shape: [], [0.25])
    writer.add("empty", element: .int8, shape: [0, 4], [Int8]())
    if hasLarge { writer.add("large/ü", element: .uint8, shape: [7, 10_000], large) }
    writer.add("last", element: .bfloat16, shape: [3], [UInt16](1...3))
    return writer
  }
}

/// A folder of its own, removed with the last holder.
final class TemporaryFolder {
  let path: String
  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("bundles-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }
  func file(_ name: String) -> String { path + "/" + name }
}
