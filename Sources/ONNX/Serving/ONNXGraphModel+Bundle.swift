public import Bundles
internal import Families
internal import Kernels
internal import Model

extension ONNXGraphModel {
  /// Of what a bundle of this family holds: section `onnx.model` (the ModelProto, large initializers taken out) and `initializer.<i>`.
  public static let bundleVersion = 1
  static let modelSection = "onnx.model"

  /// From a bundle, whose large tensors are borrowed. Every size is checked.
  public convenience init(bundle: ModelBundle) throws(BundleError) {
    try bundle.manifest.require(family: "onnx", versionMax: Self.bundleVersion)
    let bytes = try bundle.bytes(Self.modelSection)
    let text = bundle.manifest.parameters["precision"]?.string ?? MatrixPrecision.float32.name
    guard let precision = MatrixPrecision.allCases.first(where: { $0.name == text }) else {
      throw BundleError(place: "manifest.parameters.precision", reason: "\"\(text)\" is none of \(MatrixPrecision.allCases.map(\.name))")
    }
    do throws(ONNXError) {
      let model = try ModelReader(owner: bundle, external: BundleTensors(bundle), texts: TextTable()).model(bytes)
      try self.init(model: model, options: ONNXOptions(precision: precision))
    } catch {
      throw BundleError(place: "section \"\(Self.modelSection)\": \(error.place)", reason: error.description)
    }
  }

  /// Adds the sections, and sets the family, its version, inputs and outputs of the manifest where they are not set.
  public func write(into writer: BundleWriter) throws(ONNXError) {
    var isLarge: [Bool] = []
    for (_, tensor) in model.graph.initializers {
      isLarge.append(tensor.element != .text && tensor.bytes.count >= ModelStripper.largeBytesMin)
    }
    writer.manifest.family = "onnx"
    writer.manifest.familyVersion = Self.bundleVersion
    if options.precision != .float32 { writer.manifest.parameters["precision"] = .text(options.precision.name) }
    if writer.manifest.inputs.isEmpty { writer.manifest.inputs = inputs }
    if writer.manifest.outputs.isEmpty { writer.manifest.outputs = outputs }
    let stripped = try ModelStripper.strip(model.bytes, isLarge: isLarge)
    writer.add(Self.modelSection, element: .uint8, stripped)
    for (index, initializer) in model.graph.initializers.enumerated() where isLarge[index] {
      let tensor = initializer.tensor
      writer.add(ModelStripper.section(index), element: tensor.element, shape: tensor.sizes, bytes: tensor.bytes, owner: tensor)
    }
  }
}

extension MatrixPrecision {
  /// As manifests write it.
  var name: String {
    switch self {
    case .float32: "float32"
    case .bfloat16: "bfloat16"
    case .int8: "int8"
    }
  }
}
