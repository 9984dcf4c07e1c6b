public import Bundles
public import Model

/// A linear model over a dense row: each output is its bias and the weighted features, through a link (XGBoost's gblinear). A missing
/// feature (NaN) adds nothing.
///
/// Sums are floats that start from the bias and take features in their order, so answers have the bits of the library that it came from.
/// Accumulators: one float for each output. One shard.
public final class LinearModel: LoadedModel, @unchecked Sendable {
  public static let familyVersion = 1
  public static let outputsMax = 1 << 16

  /// [features, outputs], row-major.
  let weights: [Float]
  /// What each output starts from: bias and base score, as the margin.
  let biases: [Float]
  public let link: TreeEnsemble.Link

  public var featureCount: Int { inputs[0].count }
  public var outputCount: Int { biases.count }

  /// The links that a linear model may have.
  static let links: [TreeEnsemble.Link] = [.identity, .sigmoid, .softmax, .exponential, .step, .argmax]

  /// - Parameter weights: [features, outputs], row-major.
  /// - Parameter biases: one for each output.
  /// - Parameter inputs: one tensor `input` of floats when nil is given.
  /// - Parameter outputs: one tensor `output` of floats when nil is given.
  /// - Throws: which of them does not fit, or that there is no such link here.
  public init(
    weights: [Float], biases: [Float], link: TreeEnsemble.Link, featureNames: [String] = [], inputs: [InputTensor]? = nil,
    outputs: [OutputTensor]? = nil
  ) throws(LinearModelError) {
    guard !biases.isEmpty, biases.count <= Self.outputsMax, weights.count % biases.count == 0 else {
      throw LinearModelError(reason: "\(weights.count) weights for \(biases.count) outputs")
    }
    let featureCount = weights.count / biases.count
    guard Self.links.contains(link) else { throw LinearModelError(reason: "no linear model has the link \(link)") }
    let inputs = inputs ?? [InputTensor(name: "input", shape: [featureCount], columns: featureNames, absent: .nan)]
    let answerCount = link == .argmax ? 1 : biases.count
    let outputs = outputs ?? [OutputTensor(name: "output", shape: [answerCount])]
    guard inputs.count == 1, inputs[0].element == .float32, inputs[0].offset >= 0, inputs[0].count == featureCount else {
      throw LinearModelError(reason: "one input of \(featureCount) FP32 values is due")
    }
    guard outputs.count == 1, outputs[0].element == .float32, outputs[0].count == answerCount else {
      throw LinearModelError(reason: "one output of \(answerCount) FP32 values is due")
    }
    self.weights = weights
    self.biases = biases
    self.link = link
    super.init(inputs: inputs, outputs: outputs, accumulatorWidth: biases.count)
  }

  /// Sections `weights` [features, outputs] and `biases` [outputs].
  public convenience init(bundle: ModelBundle) throws(BundleError) {
    let manifest = bundle.manifest
    try manifest.require(family: "linear", versionMax: Self.familyVersion)
    let number = try manifest.parameters.int("link", in: 0...255, at: "manifest.parameters")
    guard let link = TreeEnsemble.Link(rawValue: UInt8(number)) else {
      throw BundleError(place: "manifest.parameters.link", reason: "\(number) is no link")
    }
    let biases = try bundle.array("biases", of: Float.self)
    let weights = try bundle.array("weights", of: Float.self)
    do {
      try self.init(weights: Array(weights), biases: Array(biases), link: link, inputs: manifest.inputs, outputs: manifest.outputs)
    } catch {
      throw BundleError(place: "manifest and sections", reason: error.reason)
    }
  }

  public override var family: String { "linear" }
  public override var parameterBytes: Int { 4 * (weights.count + biases.count) }
  public override func makeScorer(rowsMax: Int) -> Scorer { LinearScorer(self, rowsMax: rowsMax) }

  /// Sets what the manifest says of the family, and adds the sections.
  public func write(into writer: BundleWriter) {
    writer.manifest.family = family
    writer.manifest.familyVersion = Self.familyVersion
    writer.manifest.inputs = inputs
    writer.manifest.outputs = outputs
    writer.manifest.parameters = ["link": JSONValue(Int(link.rawValue))]
    writer.add("weights", element: .float32, shape: [featureCount, outputCount], weights)
    writer.add("biases", element: .float32, biases)
  }
}

/// What of a linear model does not fit together.
public struct LinearModelError: Error, Sendable, Equatable, CustomStringConvertible {
  public var reason: String
  public var description: String { reason }
}
