import Bundles
import Foundation
import Model

/// What `millrace model inspect` shows of a bundle.
struct BundleInspection {
  let bundle: ModelBundle

  init(path: String) throws {
    do { bundle = try ModelBundle.open(path: path) } catch { throw CleanFailure("\(error)") }
  }

  func show(json: Bool) throws { json ? try printJSON(object) : table() }

  // MARK: For people

  private func table() {
    let manifest = bundle.manifest
    print("\(manifest.identifier)  family \(manifest.family)  \(byteText(bundle.byteCount))  \(bundle.path)")
    var facts: [[String]] = []
    if let source = manifest.source {
      let origin = [source.tool, source.toolVersion ?? "", source.file.map { "from \($0)" } ?? "", source.byteCount.map { "(\(byteText($0)))" } ?? ""]
      facts.append(["source", origin.filter { !$0.isEmpty }.joined(separator: " ")])
    }
    if let maxBatchSize = manifest.maxBatchSize { facts.append(["max batch size", "\(maxBatchSize)"]) }
    if !manifest.labels.isEmpty { facts.append(["labels", manifest.labels.joined(separator: ", ")]) }
    for (title, value) in [("parameters", manifest.parameters), ("quantization", manifest.quantization), ("evaluation", manifest.evaluation)] {
      for (key, member) in (value?.object ?? [:]).sorted(by: { $0.key < $1.key }) { facts.append(["\(title).\(key)", Self.brief(member)]) }
    }
    for (key, value) in manifest.others.sorted(by: { $0.key < $1.key }) { facts.append([key, Self.brief(value)]) }
    if !facts.isEmpty {
      print("")
      printColumns(facts)
    }
    print("")
    printColumns(
      [["input", "datatype", "shape", "byte", "columns", "absent"]]
        + manifest.inputs.map { input in
          [
            input.name, input.element.datatype, Self.shape(input.shape), "\(input.offset)", Self.list(input.columns),
            input.absent.map { "\($0)" } ?? "refused",
          ]
        })
    let named = manifest.inputs.flatMap { input in input.categories.map { (input, $0) } }
    if !named.isEmpty {
      print("")
      printColumns(
        [["categories of", "codes", "names"]]
          + named.map { input, column in
            let names = column.names.names
            return [
              column.column < input.columns.count ? input.columns[column.column] : "\(input.name)[\(column.column)]",
              names.count == 1 ? "0" : "0 to \(names.count - 1)", Self.list(names.map(\.description)),
            ]
          })
    }
    print("")
    printColumns(
      [["output", "datatype", "shape", "texts"]]
        + manifest.outputs.map { [$0.name, $0.element.datatype, Self.shape($0.shape), Self.list($0.texts)] })
    if let specification = manifest.specification {
      print("\nspecification")
      for line in specification.split(separator: "\n", omittingEmptySubsequences: false) { print("  \(line)") }
    }
    print("")
    printColumns(
      [["section", "element", "shape", "bytes", "at byte", "crc32c"]]
        + bundle.sections.map { section in
          [
            section.name, section.element.datatype, Self.shape(section.shape), "\(section.byteCount)", "\(section.offset)", crcText(section.checksum),
          ]
        })
  }

  private static func shape(_ shape: [Int]) -> String { "[\(shape.map(String.init).joined(separator: ", "))]" }

  /// The first of them, when they are many; each cut when it is long.
  private static func list(_ texts: [String]) -> String {
    guard !texts.isEmpty else { return "-" }
    let shown = texts.prefix(6).map { $0.count > 40 ? "\($0.prefix(39))…" : $0 }.joined(separator: " ")
    return texts.count > 6 ? "\(shown) … (\(texts.count))" : shown
  }

  private static func brief(_ value: JSONValue) -> String {
    let text = String(decoding: value.encoded(), as: UTF8.self)
    return text.count > 100 ? "\(text.prefix(97))…" : text
  }

  // MARK: For programs

  private var object: [String: Any] {
    [
      "path": bundle.path, "bytes": bundle.byteCount, "manifest": Self.any(bundle.manifest.json),
      "sections": bundle.sections.map { section -> [String: Any] in
        [
          "name": section.name, "datatype": section.element.datatype, "shape": section.shape, "bytes": section.byteCount, "offset": section.offset,
          "crc32c": crcText(section.checksum),
        ]
      },
    ]
  }

  private static func any(_ value: JSONValue) -> Any {
    switch value {
    case .null: NSNull()
    case .boolean(let value): value
    case .integer(let value): value
    case .number(let value): value
    case .text(let value): value
    case .array(let values): values.map(any)
    case .object(let members): members.mapValues(any)
    }
  }
}
