import Model

@testable import ONNX

/// Writes small ONNX models for tests.
struct ModelMaker {
  enum Size {
    case fixed(Int)
    case named(String)
  }

  var operatorSets: [(domain: String, version: Int)] = [("", 17), ("ai.onnx.ml", 3)]
  private(set) var graph = ProtobufWriter()

  init(version: Int = 17) { operatorSets[0].version = version }

  enum Value {
    case int(Int)
    case float(Float)
    case string(String)
    case ints([Int])
    case floats([Float])
    case strings([String])
    case graph
  }

  mutating func node(
    _ operation: String, _ inputs: [String], _ outputs: [String], domain: String = "", name: String? = nil, _ attributes: [String: Value] = [:]
  ) {
    var node = ProtobufWriter()
    for input in inputs { node.string(1, input) }
    for output in outputs { node.string(2, output) }
    node.string(3, name ?? "node_\(outputs.first ?? "")")
    node.string(4, operation)
    for (name, value) in attributes.sorted(by: { $0.key < $1.key }) {
      var attribute = ProtobufWriter()
      attribute.string(1, name)
      switch value {
      case .float(let value):
        attribute.varint(2 << 3 | 5)
        attribute.raw(bytes: withUnsafeBytes(of: value) { Array($0) })
        attribute.int(20, 1)
      case .int(let value):
        attribute.int(3, value)
        attribute.int(20, 2)
      case .string(let value):
        attribute.string(4, value)
        attribute.int(20, 3)
      case .graph:
        attribute.message(6, [])
        attribute.int(20, 5)
      case .floats(let values):
        attribute.message(7, values.withUnsafeBytes { Array($0) })
        attribute.int(20, 6)
      case .ints(let values):
        for value in values { attribute.int(8, value) }
        attribute.int(20, 7)
      case .strings(let values):
        for value in values { attribute.string(9, value) }
        attribute.int(20, 8)
      }
      node.message(5, attribute.bytes)
    }
    if !domain.isEmpty { node.string(7, domain) }
    graph.message(1, node.bytes)
  }

  mutating func constant<T: BitwiseCopyable>(_ name: String, _ element: TensorElement, _ sizes: [Int], _ values: [T]) {
    var tensor = ProtobufWriter()
    for size in sizes { tensor.int(1, size) }
    tensor.int(2, element.onnxCode)
    tensor.string(8, name)
    tensor.message(9, values.withUnsafeBytes { Array($0) })
    graph.message(5, tensor.bytes)
  }

  mutating func floats(_ name: String, _ sizes: [Int], _ values: [Float]) { constant(name, .float32, sizes, values) }
  mutating func ints(_ name: String, _ values: [Int64]) { constant(name, .int64, [values.count], values) }

  private func value(_ name: String, _ element: TensorElement, _ sizes: [Size]) -> [UInt8] {
    var shape = ProtobufWriter()
    for size in sizes {
      var dimension = ProtobufWriter()
      switch size {
      case .fixed(let size): dimension.int(1, size)
      case .named(let name): dimension.string(2, name)
      }
      shape.message(1, dimension.bytes)
    }
    var tensor = ProtobufWriter()
    tensor.int(1, element.onnxCode)
    tensor.message(2, shape.bytes)
    var type = ProtobufWriter()
    type.message(1, tensor.bytes)
    var value = ProtobufWriter()
    value.string(1, name)
    value.message(2, type.bytes)
    return value.bytes
  }

  mutating func input(_ name: String, _ element: TensorElement = .float32, _ sizes: [Size]) { graph.message(11, value(name, element, sizes)) }
  /// [rows, width]
  mutating func input(_ name: String, width: Int) { input(name, .float32, [.named("N"), .fixed(width)]) }
  mutating func output(_ name: String, _ element: TensorElement = .float32, _ sizes: [Size] = []) { graph.message(12, value(name, element, sizes)) }

  var bytes: [UInt8] {
    var model = ProtobufWriter()
    model.int(1, 8)
    model.string(2, "tests")
    model.message(7, graph.bytes)
    for set in operatorSets {
      var entry = ProtobufWriter()
      entry.string(1, set.domain)
      entry.int(2, set.version)
      model.message(8, entry.bytes)
    }
    return model.bytes
  }

  func read() throws -> ONNXModel { try ONNXModel.read(bytes) }
}

extension ProtobufWriter {
  mutating func raw(bytes: [UInt8]) { bytes.withUnsafeBytes { raw($0) } }
}

extension ONNXTensor {
  init(_ values: [Float], _ sizes: [Int]) { self.init(values, element: .float32, sizes: sizes) }
  init(_ values: [Int64], _ sizes: [Int]) { self.init(values, element: .int64, sizes: sizes) }
  var floats: [Float] { values(Float.self) }
}

/// Small numbers that a seed gives.
struct Numbers {
  private var state: UInt64
  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state &* 0x2545_F491_4F6C_DD1D
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(1, bound))) }
  mutating func float() -> Float { Float(next() >> 40) / Float(1 << 23) - 1 }
  mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }
}
