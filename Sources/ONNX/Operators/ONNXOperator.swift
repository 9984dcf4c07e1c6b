internal import Model

/// One operator: what it gives and how it runs. See README.md, "Adding an operator".
struct ONNXOperator: Sendable {
  /// "" for ONNX's own, "ai.onnx.ml", "com.microsoft".
  let domain: String
  let name: String
  /// Versions of its domain's operator set in which it means what is implemented here.
  let versions: ClosedRange<Int>
  /// Attributes that it knows: a node with any other one is refused, since it would be ignored silently.
  let attributes: Set<String>
  /// Inputs whose contents must be known at load. A node whose input is not known is refused by name.
  let constantInputs: Set<Int>
  /// Outputs that its kernel leaves out when nobody names them (`Call.hasOutput`). All others are given memory, named or not.
  let optionalOutputs: Set<Int>
  /// What it computes for float16 and bfloat16.
  let halves: Halves
  /// A type for each output. Checks elements, shapes and attributes, and throws `node.error(...)` for what is not supported.
  let infer: @Sendable (NodeContext) throws(ONNXError) -> [TensorType]
  /// How it runs. Called after `infer`, with all types known.
  let compile: @Sendable (NodeContext) throws(ONNXError) -> Kernel
  /// What its first output holds when the inputs are only known as dimensions (`node.dimensions`); for operators that appear in the
  /// arithmetic of shapes.
  let dimensions: (@Sendable (NodeContext) throws(ONNXError) -> [Dimension]?)?

  enum Halves: Sendable {
    /// The operator is given float32: casts are put around the node.
    case asFloats
    /// It moves bytes, or knows halves itself.
    case itself
  }

  init(
    _ name: String, domain: String = "", versions: ClosedRange<Int> = 1...ONNXOperator.versionMax, attributes: Set<String> = [],
    constantInputs: Set<Int> = [], optionalOutputs: Set<Int> = [], halves: Halves = .asFloats,
    infer: @escaping @Sendable (NodeContext) throws(ONNXError) -> [TensorType],
    compile: @escaping @Sendable (NodeContext) throws(ONNXError) -> Kernel,
    dimensions: (@Sendable (NodeContext) throws(ONNXError) -> [Dimension]?)? = nil
  ) {
    self.domain = domain
    self.name = name
    self.versions = versions
    self.attributes = attributes
    self.constantInputs = constantInputs
    self.optionalOutputs = optionalOutputs
    self.halves = halves
    self.infer = infer
    self.compile = compile
    self.dimensions = dimensions
  }

  /// The newest operator set whose changes were looked through for the operators here.
  static let versionMax = 28
}

/// All operators by domain and name.
enum OperatorRegistry {
  /// Lists are kept beside the operators: add yours to one of them.
  private static let all: [ONNXOperator] =
    ArithmeticOperators.all + UnaryOperators.all + VariadicOperators.all + NormalizationOperators.all + MatrixOperators.all + ShapeOperators.all + CastOperator.all
    + MovementOperators.all + LogicOperators.all + ReductionOperators.all + QuantizedOperators.all + MachineLearningOperators.all

  private static let byName: [String: ONNXOperator] = Dictionary(all.map { (key($0.domain, $0.name), $0) }, uniquingKeysWith: { _, second in second })

  static func find(domain: String, name: String) -> ONNXOperator? { byName[key(domain, name)] }

  private static func key(_ domain: String, _ name: String) -> String { domain + ":" + name }

  /// What can be run, for people and tests.
  static var names: [String] { byName.values.map { $0.domain.isEmpty ? $0.name : "\($0.domain).\($0.name)" }.sorted() }
}
