internal import Bundles
public import Model

/// Named tensors as Hugging Face's safetensors lays them out: 8 bytes of length, that many bytes of JSON (name to dtype, shape and where the
/// data lies), the data. https://huggingface.co/docs/safetensors. The bytes are borrowed as long as the value lives.
///
/// Every length and offset is checked before it is used: tensors have the bytes that their shape takes, lie within the data, and not in each other.
public struct SafetensorsFile {
  public struct Tensor: Sendable, Equatable {
    public var name: String
    public var element: TensorElement
    public var shape: [Int]
    /// In the data, from its begin.
    public var bytes: Range<Int>
  }

  public static let headerBytesMax = 64 << 20
  public static let tensorsMax = 65_536
  public static let rankMax = 8

  /// In the order of their data.
  public let tensors: [Tensor]
  /// What whoever wrote the file had to say: `__metadata__`.
  public let metadata: [String: String]
  private let indices: [String: Int]
  private let data: UnsafeRawBufferPointer

  public init(_ bytes: UnsafeRawBufferPointer) throws(ImportError) {
    guard bytes.count >= 8 else { throw ImportError(place: "header", reason: "the file has \(bytes.count) bytes: no header") }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length >= 2, length <= UInt64(Self.headerBytesMax), length <= UInt64(bytes.count - 8) else {
      throw ImportError(place: "header", reason: "a header of \(length) bytes in a file of \(bytes.count)")
    }
    let end = 8 + Int(length)
    let header: JSONValue
    do {
      header = try JSONValue.decode(UnsafeRawBufferPointer(rebasing: bytes[8..<end]), place: "header")
    } catch {
      throw ImportError(place: error.place, reason: error.reason)
    }
    guard let members = header.object else { throw ImportError(place: "header", reason: "expected an object, found \(header.kind)") }
    guard members.count <= Self.tensorsMax else { throw ImportError(place: "header", reason: "\(members.count) tensors, at most \(Self.tensorsMax)") }
    data = UnsafeRawBufferPointer(rebasing: bytes[end...])
    var found: [Tensor] = []
    var metadata: [String: String] = [:]
    for (name, value) in members {
      if name == "__metadata__" {
        for (key, text) in value.object ?? [:] { metadata[key] = text.string }
      } else {
        found.append(try Self.tensor(name, value, dataBytes: data.count))
      }
    }
    found.sort { ($0.bytes.lowerBound, $0.bytes.upperBound, $0.name) < ($1.bytes.lowerBound, $1.bytes.upperBound, $1.name) }
    for (a, b) in zip(found, found.dropFirst()) where a.bytes.upperBound > b.bytes.lowerBound {
      throw ImportError(place: "header.\(b.name.prefix(200))", reason: "its data overlaps that of \"\(a.name.prefix(200))\"")
    }
    tensors = found
    self.metadata = metadata
    indices = Dictionary(found.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  private static let elements: [String: TensorElement] = [
    "F64": .float64, "F32": .float32, "F16": .float16, "BF16": .bfloat16, "I64": .int64, "I32": .int32, "I16": .int16, "I8": .int8, "U64": .uint64,
    "U32": .uint32, "U16": .uint16, "U8": .uint8, "BOOL": .boolean,
  ]

  private static func tensor(_ name: String, _ value: JSONValue, dataBytes: Int) throws(ImportError) -> Tensor {
    let place = "header.\(name.prefix(200))"
    let element: TensorElement, shape: [Int], offsets: [Int]
    do throws(BundleError) {
      let dtype = try value.string("dtype", at: place)
      guard let known = elements[dtype] else { throw BundleError(place: "\(place).dtype", reason: "\"\(dtype.prefix(40))\" is not one that is read here") }
      element = known
      shape = try value.ints("shape", in: 0...(1 << 48), at: place)
      offsets = try value.ints("data_offsets", in: 0...Int.max, at: place)
    } catch {
      throw ImportError(place: error.place, reason: error.reason)
    }
    guard shape.count <= rankMax else { throw ImportError(place: "\(place).shape", reason: "\(shape.count) dimensions, at most \(rankMax)") }
    guard offsets.count == 2, offsets[0] <= offsets[1], offsets[1] <= dataBytes else {
      throw ImportError(place: "\(place).data_offsets", reason: "\(offsets.prefix(3)) in data of \(dataBytes) bytes")
    }
    var bytes = element.bytes
    for size in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard !overflow else { throw ImportError(place: "\(place).shape", reason: "\(shape) is more than can be counted") }
      bytes = product
    }
    guard bytes == offsets[1] - offsets[0] else {
      throw ImportError(place: "\(place).data_offsets", reason: "\(offsets[1] - offsets[0]) bytes where \(shape) takes \(bytes)")
    }
    return Tensor(name: name, element: element, shape: shape, bytes: offsets[0]..<offsets[1])
  }

  /// Nil when there is none of that name.
  public subscript(name: String) -> Tensor? { indices[name].map { tensors[$0] } }

  /// Elements `first` ..< `first + count` of a floating-point tensor, as float32; numbers of more precision are rounded.
  /// - Throws: when the elements are no floating-point numbers.
  public func read(_ tensor: Tensor, from first: Int, count: Int, into out: UnsafeMutablePointer<Float>) throws(ImportError) {
    let start = tensor.bytes.lowerBound + first * tensor.element.bytes
    precondition(first >= 0 && count >= 0 && start + count * tensor.element.bytes <= tensor.bytes.upperBound, "elements \(first) + \(count)")
    switch tensor.element {
    case .float32:
      for index in 0..<count { out[index] = Float(bitPattern: load(start + index * 4, as: UInt32.self)) }
    case .float64:
      for index in 0..<count { out[index] = Float(Double(bitPattern: load(start + index * 8, as: UInt64.self))) }
    case .bfloat16:
      for index in 0..<count { out[index] = Float(bitPattern: UInt32(load(start + index * 2, as: UInt16.self)) << 16) }
    case .float16:
      for index in 0..<count { out[index] = Float(Float16(bitPattern: load(start + index * 2, as: UInt16.self))) }
    default: throw ImportError(place: tensor.name, reason: "has elements of \(tensor.element.datatype), expected floating-point numbers")
    }
  }

  /// All elements.
  public func floats(_ tensor: Tensor) throws(ImportError) -> [Float] {
    let count = tensor.bytes.count / tensor.element.bytes
    var numbers = [Float](repeating: 0, count: count)
    // An empty array has no elements to read into.
    guard count > 0 else { return numbers }
    var problem: ImportError?
    numbers.withUnsafeMutableBufferPointer { buffer in
      guard let out = buffer.baseAddress else { return }
      do throws(ImportError) { try read(tensor, from: 0, count: count, into: out) } catch { problem = error }
    }
    if let problem { throw problem }
    return numbers
  }

  @inline(__always)
  private func load<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
    Value(littleEndian: data.loadUnaligned(fromByteOffset: offset, as: Value.self))
  }
}
