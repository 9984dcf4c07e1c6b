public import Bundles
public import Families
internal import ONNX

extension ModelStore {
  /// The model in a bundle. One case for each family; nothing else knows which there are.
  /// - Throws: `BundleError`, with the place in the file, or what else the family has against it.
  public static func load(_ bundle: ModelBundle) throws -> LoadedModel {
    switch bundle.manifest.family {
    case "fm": return try FactorizationModel(bundle: bundle)
    case "dlrm": return try DLRMModel(bundle: bundle)
    case "linear": return try LinearModel(bundle: bundle)
    case "onnx": return try ONNXGraphModel(bundle: bundle)
    case "trees": return try TreeModel(bundle: bundle)
    default:
      throw BundleError(
        place: "\(bundle.path): manifest.family",
        reason: "this build has no family \"\(bundle.manifest.family)\": update millrace, or import the model again")
    }
  }
}
