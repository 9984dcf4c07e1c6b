public import Families
internal import Foundation
internal import Model

/// An ONNX graph that scores batches of rows. Immutable; each thread takes a scorer.
///
/// Inputs of the graph are [rows] + fixed dimensions. A graph that was exported with a batch of 1, or whose values cannot be followed for any
/// number of rows (it mixes rows, say), runs row by row: see `isRowByRow` and `rowByRowReason`.
public final class ONNXGraphModel: LoadedModel, @unchecked Sendable {
  public let model: ONNXModel
  public let options: ONNXOptions
  let program: Program
  /// Whether each row is computed by itself, as a batch of one.
  public let isRowByRow: Bool
  /// Why; empty when it is not.
  public let rowByRowReason: String
  /// The place of each output in the file's order.
  let outputOrder: [Int]
  let textIndices: TextIndices
  /// Weights of dense layers, with the axis of their outputs.
  let layerWeights: [(tensor: ConstantTensor, axis: Int)]

  public override var family: String { "onnx" }
  public override var parameterBytes: Int { model.bytes.count }
  /// What runs, in order: for people.
  public var stepNames: [String] { program.stepNames }

  /// - Throws: all operators, attributes, element types and shapes that cannot be run, with their nodes.
  public init(model: ONNXModel, options: ONNXOptions = ONNXOptions()) throws(ONNXError) {
    let prepared = try Prepared(model, options: options)
    self.model = model
    self.options = options
    program = prepared.program
    isRowByRow = prepared.isRowByRow
    rowByRowReason = prepared.reason
    outputOrder = prepared.outputOrder
    textIndices = prepared.texts
    layerWeights = prepared.layerWeights
    super.init(inputs: prepared.inputs, outputs: prepared.outputs)
  }

  public override func makeScorer(rowsMax: Int) -> Scorer { ONNXScorer(self, rowsMax: rowsMax) }
}

/// A graph made ready for rows, one way or the other.
struct Prepared {
  let program: Program
  let isRowByRow: Bool
  let reason: String
  let inputs: [InputTensor]
  let outputs: [OutputTensor]
  let outputOrder: [Int]
  let texts: TextIndices
  let layerWeights: [(tensor: ConstantTensor, axis: Int)]

  init(_ model: ONNXModel, options: ONNXOptions) throws(ONNXError) {
    var made: (Graph, Program)?
    var reason = ""
    do throws(ONNXError) {
      let isFixed = model.graph.inputs.contains { $0.sizes?.first == .fixed(1) }
      let graph = try GraphBuilder.build(model, isRewritten: isFixed) { (input) throws(ONNXError) in
        .type(try Self.type(input, isRowByRow: false))
      }
      QuantizedFusion.apply(to: graph, options: options)
      try Self.checkRows(graph, isFixed: isFixed)
      try Fusion.apply(to: graph, options: options)
      made = (graph, try Program(graph))
    } catch {
      reason = error.description
    }
    if made == nil {
      // Problems of the graph itself come again, and are what the caller is told.
      let graph = try GraphBuilder.build(model) { (input) throws(ONNXError) in .type(try Self.type(input, isRowByRow: true)) }
      try Fusion.apply(to: graph, options: options)
      made = (graph, try Program(graph))
    }
    guard let (graph, program) = made else { throw ONNXError(place: "graph", reason: reason) }
    self.program = program
    layerWeights = graph.nodes.flatMap { node in node.layers.map { ($0.weights, $0.isTransposed ? 1 : 0) } }
    isRowByRow = !reason.isEmpty
    self.reason = reason

    guard !graph.inputs.isEmpty else { throw ONNXError(place: "graph", reason: "has no inputs: there is nothing to ask it") }
    var offset = 0
    inputs = graph.inputs.enumerated().map { index, value in
      let type = program.inputTypes[index]
      offset = (offset + type.element.bytes - 1) / type.element.bytes * type.element.bytes
      let tensor = InputTensor(
        name: graph.values[value].name, element: type.element, shape: type.shape.dropFirst().map(\.multiple), offset: offset)
      offset += tensor.count * type.element.bytes
      return tensor
    }
    texts = TextIndices(model.texts)
    // Whoever wants one number takes the first output's first element: floats come first.
    let order = program.outputTypes.indices.sorted {
      let (a, b) = (program.outputTypes[$0].element == .float32, program.outputTypes[$1].element == .float32)
      return a != b ? a : $0 < $1
    }
    outputOrder = order
    var outputs: [OutputTensor] = []
    for index in order {
      let type = program.outputTypes[index]
      let leads = type.shape.first == (isRowByRow ? Dimension(1) : .rows())
      guard leads || isRowByRow else { throw ONNXError(place: "output \"\(graph.outputNames[index])\"", reason: "\(type) does not begin with the rows") }
      guard let shape = (leads ? Array(type.shape.dropFirst()) : type.shape).fixedSizes else {
        throw ONNXError(place: "output \"\(graph.outputNames[index])\"", reason: "\(type) is not of a fixed size for each row")
      }
      outputs.append(
        OutputTensor(name: graph.outputNames[index], element: type.element, shape: shape, texts: type.element == .text ? texts.texts : []))
    }
    self.outputs = outputs
  }

  /// What an input is for one row, or for any number of rows.
  private static func type(_ input: ValueDefinition, isRowByRow: Bool) throws(ONNXError) -> TensorType {
    func error(_ reason: String) -> ONNXError { ONNXError(place: "input \"\(input.name)\"", reason: reason) }
    guard let element = input.element else { throw error("is a \(input.kind), not a tensor of a supported type") }
    guard let sizes = input.sizes, let first = sizes.first else { throw error("has no dimension for the rows of a batch") }
    if case .fixed(let size) = first, size != 1 { throw error("has a fixed batch of \(size) rows: export it with a free first dimension, or 1") }
    var shape = [isRowByRow ? Dimension(1) : .rows()]
    for size in sizes.dropFirst() {
      guard case .fixed(let number) = size, number <= ONNXLimits.elementsMax else {
        throw error("has a dimension that is neither fixed nor the first: export it with fixed sizes, or rewrite it")
      }
      shape.append(Dimension(number))
    }
    guard shape.count <= ONNXLimits.rankMax, let count = shape.elementCount, count.multiple <= ONNXLimits.rowBytesMax / 8 else { throw error("is too large") }
    guard count.multiple > 0 else { throw error("has no elements: \(shape.text)") }
    return TensorType(element, shape)
  }

  /// Refuses graphs in which a row may depend on others. `isFixed`: it was exported for one row, and is being run for many.
  private static func checkRows(_ graph: Graph, isFixed: Bool) throws(ONNXError) {
    for node in graph.nodes {
      for value in node.outputs where value >= 0 {
        guard let type = graph.values[value].type else { continue }
        let rows = type.shape.filter(\.isRows)
        guard !rows.isEmpty else { throw ONNXError(place: node.place, reason: "output of type \(type) depends on all rows of a batch") }
        if isFixed, type.shape.first != .rows() || rows.count > 1 {
          throw ONNXError(place: node.place, reason: "output of type \(type) of a graph that was exported for one row")
        }
      }
    }
    for value in graph.outputs {
      guard let type = graph.values[value].type, type.shape.first == .rows(), type.shape.dropFirst().allSatisfy({ !$0.isRows }) else {
        throw ONNXError(place: "output \"\(graph.values[value].name)\"", reason: "does not begin with the rows")
      }
    }
  }
}
