public import Model

/// A model file as read: graph, operator sets, metadata. Initializers are borrowed from the bytes, whose owner it keeps: a model of trees or support
/// vectors may have no initializer that would.
/// Field numbers: onnx.proto3 of ONNX 1.17 (IR version 10) and later.
public final class ONNXModel: @unchecked Sendable {
  public let irVersion: Int
  public let producer: String
  public let producerVersion: String
  /// Domain to version; "" is ONNX's own.
  public let operatorSets: [String: Int]
  public let metadata: [String: String]
  public let graph: GraphDefinition
  /// All bytes of the file.
  public let bytes: UnsafeRawBufferPointer
  private let owner: AnyObject
  /// Every text in it, by hash.
  let texts: TextTable

  init(
    irVersion: Int, producer: String, producerVersion: String, operatorSets: [String: Int], metadata: [String: String],
    graph: GraphDefinition, bytes: UnsafeRawBufferPointer, owner: AnyObject, texts: TextTable
  ) {
    self.irVersion = irVersion
    self.producer = producer
    self.producerVersion = producerVersion
    self.operatorSets = operatorSets
    self.metadata = metadata
    self.graph = graph
    self.bytes = bytes
    self.owner = owner
    self.texts = texts
  }
}

/// GraphProto.
public struct GraphDefinition: Sendable {
  public var name = ""
  public var nodes: [NodeDefinition] = []
  public var initializers: [(name: String, tensor: ConstantTensor)] = []
  /// Without those that an initializer gives.
  public var inputs: [ValueDefinition] = []
  public var outputs: [ValueDefinition] = []
}

/// ValueInfoProto: a name and what is said of its type.
public struct ValueDefinition: Sendable {
  public enum Size: Sendable, Equatable {
    case fixed(Int)
    case named(String)
    case unknown
  }
  public var name = ""
  /// Nil: not a tensor, or not told; `kind` says what.
  public var element: TensorElement?
  public var kind = "no type"
  /// Nil: not even the rank is told.
  public var sizes: [Size]?
}

/// NodeProto.
public struct NodeDefinition: Sendable {
  public var name = ""
  public var domain = ""
  public var operation = ""
  public var inputs: [String] = []
  public var outputs: [String] = []
  public var attributes: [String: ONNXAttribute] = [:]
}

/// AttributeProto.
public enum ONNXAttribute: Sendable {
  case int(Int)
  case float(Float)
  case string([UInt8])
  case tensor(ConstantTensor)
  case ints([Int])
  case floats([Float])
  case strings([[UInt8]])
  case tensors([ConstantTensor])
  /// A subgraph, sparse tensor or type: nothing here takes one.
  case other(String)
}
