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
    let layerInputs = try Self.layerInputs(bundle.manifest.parameters)
    do throws(ONNXError) {
      let model = try ModelReader(owner: bundle, external: BundleTensors(bundle), texts: TextTable()).model(bytes)
      var options = ONNXOptions(precision: precision)
      options.layerInputs = layerInputs
      try self.init(model: model, options: options)
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
    if !options.layerInputs.isEmpty {
      writer.manifest.parameters["layer_inputs"] = .array(options.layerInputs.map { layer in
        [
          "inputs": JSONValue(layer.inputs), "outputs": JSONValue(layer.outputs), "low": JSONValue(Double(layer.low)),
          "high": JSONValue(Double(layer.high)),
        ]
      })
    }
    if writer.manifest.inputs.isEmpty { writer.manifest.inputs = inputs }
    if writer.manifest.outputs.isEmpty { writer.manifest.outputs = outputs }
    let stripped = try ModelStripper.strip(model.bytes, isLarge: isLarge)
    writer.add(Self.modelSection, element: .uint8, stripped)
    for (index, initializer) in model.graph.initializers.enumerated() where isLarge[index] {
      let tensor = initializer.tensor
      if let axis = narrowAxis(of: initializer.name, tensor) {
        NarrowTensor.write(tensor, axis: axis, name: ModelStripper.section(index), isInt8: options.precision == .int8, into: writer)
        continue
      }
      writer.add(ModelStripper.section(index), element: tensor.element, shape: tensor.sizes, bytes: tensor.bytes, owner: tensor)
    }
  }

  /// The axis of the outputs, when the tensor is the weights of layers in a narrow precision and of nothing else.
  private func narrowAxis(of name: String, _ tensor: ConstantTensor) -> Int? {
    guard options.precision != .float32, tensor.element == .float32, tensor.sizes.count == 2 else { return nil }
    let uses = layerWeights.filter { $0.tensor === tensor }
    let users = model.graph.nodes.reduce(0) { sum, node in sum + node.inputs.count { $0 == name } }
    return uses.count == 1 && users == 1 ? uses[0].axis : nil
  }

  private static func layerInputs(_ parameters: JSONValue) throws(BundleError) -> [ONNXLayerInput] {
    let place = "manifest.parameters"
    guard parameters["layer_inputs"] != nil else { return [] }
    var layers: [ONNXLayerInput] = []
    for (index, value) in try parameters.array("layer_inputs", at: place).enumerated() {
      let at = "\(place).layer_inputs[\(index)]"
      let sizes = 1...Int(Int32.max)
      let (low, high) = (Float(try value.double("low", at: at)), Float(try value.double("high", at: at)))
      guard low.isFinite, high.isFinite else { throw BundleError(place: at, reason: "\(low) to \(high) is no range") }
      layers.append(ONNXLayerInput(
        inputs: try value.int("inputs", in: sizes, at: at), outputs: try value.int("outputs", in: sizes, at: at), low: low, high: high))
    }
    return layers
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
