import ArgumentParser
import Bundles
import Families
import Foundation
import Importers
import Model
import ModelStore

struct ModelImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Make a bundle of a model that LightGBM, XGBoost or another tool trained.",
    discussion: """
      Reads LightGBM's text models, XGBoost's JSON and UBJSON, ONNX, and FM and DLRM weights as safetensors (these with --specification, \
      which says how features become rows). The file is checked while it is read: what cannot be served is refused with its line, path or \
      node. The bundle is written beside its target and renamed, so a server that watches it finds the old one or the new one, whole.

      EXAMPLES
        millrace model import model.txt --name fraud
        millrace model import model.ubj --name fraud --version 2 --labels canary -o models/fraud/2.millrace
        millrace model import ranker.safetensors --specification ranker.yaml

      EXIT CODES
        0 written, 1 the file cannot be served, 64 wrong usage.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case auto, lightgbm, xgboost, onnx, safetensors }

  @Argument(help: ArgumentHelp("The other tool's file.", valueName: "file"))
  var file: String

  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("The bundle. Default: <name>.millrace here.", valueName: "file"))
  var output: String?

  @Option(help: ArgumentHelp("The model's name, as requests give it. Default: the file's.", valueName: "name"))
  var name: String?

  @Option(help: ArgumentHelp("The model's version.", valueName: "number"))
  var version = 1

  @Option(help: ArgumentHelp("What the file is. auto: by its content.", valueName: "format"))
  var format = Format.auto

  @Option(help: ArgumentHelp("YAML that says how named features become rows.", valueName: "file"))
  var specification: String?

  @Option(help: ArgumentHelp("Labels that a server gives this version, comma separated: stable, canary, …", valueName: "names"))
  var labels: String?

  @Option(help: ArgumentHelp("Rows of one request at most. Default: the server decides.", valueName: "rows"))
  var maxBatchSize: Int?

  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard (1...Int(Int32.max)).contains(version) else { throw ValidationError("--version takes 1 to \(Int32.max)") }
    if let maxBatchSize, !(1...Int(Int32.max)).contains(maxBatchSize) { throw ValidationError("--max-batch-size takes 1 or more") }
    if let name, !Self.isName(name) { throw ValidationError("--name takes 1 to \(ModelSpecification.nameBytesMax) letters, digits, \"_\", \"-\" or \".\"") }
  }

  func run() throws {
    let progress = Progress()
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: file), options: .alwaysMapped) } catch {
      throw CleanFailure("\(file) cannot be read: \((error as NSError).localizedDescription)")
    }
    var text: String?
    if let specification {
      guard let read = try? String(contentsOfFile: specification, encoding: .utf8) else { throw CleanFailure("\(specification) cannot be read") }
      text = read
    }
    let path = URL(fileURLWithPath: file)
    let wish = ImportWish(
      name: name ?? Self.name(from: path.deletingPathExtension().lastPathComponent), version: version,
      labels: (labels ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }, maxBatchSize: maxBatchSize,
      specification: text, path: file)
    progress.show("reading \(byteText(data.count)) of \(path.lastPathComponent)")
    let imported = try data.withUnsafeBytes { bytes in
      guard let format = ModelFormat(rawValue: format.rawValue) ?? ModelFormat.detect(bytes) else {
        throw CleanFailure("\(file): \(ModelFormat.advice(bytes))")
      }
      do { return try ModelImport(bytes, format: format, wish: wish) } catch { throw CleanFailure("\(file): \(error)") }
    }
    let target = output ?? "\(wish.name).millrace"
    progress.show("writing \(target)")
    let written: Int
    do { written = try imported.writer.write(to: target) } catch { throw CleanFailure("\(error)") }
    progress.clear()
    // What was written is what a server will read.
    do { _ = try ModelStore.load(ModelBundle.open(path: target)) } catch { throw CleanFailure("\(target) was written and does not load: \(error)") }
    try tell(imported, target, written)
  }

  private func tell(_ imported: ModelImport, _ target: String, _ written: Int) throws {
    let manifest = imported.writer.manifest
    if json {
      try printJSON([
        "path": target, "bytes": written, "model": manifest.identifier, "family": manifest.family, "format": imported.format.rawValue,
        "facts": Dictionary(imported.facts.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }), "notes": imported.notes,
        "inputs": manifest.inputs.map { ["name": $0.name, "datatype": $0.element.datatype, "shape": $0.shape] as [String: Any] },
        "outputs": manifest.outputs.map { ["name": $0.name, "datatype": $0.element.datatype, "shape": $0.shape] as [String: Any] },
      ])
      return
    }
    let source = manifest.source
    print("\(manifest.identifier)  family \(manifest.family)  from \([source?.tool, source?.toolVersion].compactMap { $0 }.joined(separator: " "))")
    var rows = imported.facts.map { [$0.name, $0.value] }
    rows.append(["parameters", "\(byteText(imported.model.parameterBytes)) in memory"])
    for input in manifest.inputs {
      rows.append(["input", "\(input.name) \(input.element.datatype) \(input.shape)\(input.columns.isEmpty ? "" : ", columns named")"])
    }
    for output in manifest.outputs { rows.append(["output", "\(output.name) \(output.element.datatype) \(output.shape)"]) }
    printColumns(rows)
    for note in imported.notes { print("note: \(note)") }
    print("\(target)  \(byteText(written))")
  }

  static func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= ModelSpecification.nameBytesMax && name.utf8.allSatisfy(isNameByte) && name != "." && name != ".."
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 46 || byte == 95
  }

  /// A file's name as a model's.
  static func name(from file: String) -> String {
    let bytes = file.utf8.prefix(ModelSpecification.nameBytesMax).map { isNameByte($0) ? $0 : UInt8(ascii: "-") }
    let name = String(decoding: bytes, as: UTF8.self)
    return isName(name) ? name : "model"
  }
}
