public import Bundles
public import Families
internal import ONNX

extension ModelStore {
  /// The model in a bundle.
  /// - Throws: `BundleError`, with the path and the place in the file, or what else the family has against it.
  public static func load(_ bundle: ModelBundle, tables: TableResidence = .hugePages()) throws -> LoadedModel {
    try naming(bundle) { try family(of: bundle, tables) }
  }

  /// What `body` finds wrong with the bundle, with its path.
  static func naming<Value>(_ bundle: ModelBundle, _ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch let error as BundleError {
      throw BundleError(place: "\(bundle.path): \(error.place)", reason: error.reason)
    }
  }

  /// One case for each family; nothing else knows which there are.
  private static func family(of bundle: ModelBundle, _ tables: TableResidence) throws -> LoadedModel {
    switch bundle.manifest.family {
    case "fm": return try FactorizationModel(bundle: bundle, residence: tables)
    case "dlrm": return try DLRMModel(bundle: bundle, residence: tables)
    case "linear": return try LinearModel(bundle: bundle)
    case "onnx": return try ONNXGraphModel(bundle: bundle)
    case "trees": return try TreeModel(bundle: bundle)
    default:
      throw BundleError(
        place: "manifest.family",
        reason: "this build has no family \"\(bundle.manifest.family)\": update millrace, or import the model again")
    }
  }
}
