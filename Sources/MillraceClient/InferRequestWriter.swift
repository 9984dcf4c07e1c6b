// Hot: load generators write every request through this. No allocation once the buffers have grown.
internal import CMessages
internal import Events

/// Writes V2 requests (ModelInferRequest), byte for byte as tritonclient does. Owned by one thread and reused.
///
///     writer.begin(model: "flights")
///     writer.input("carrier", .bytes, rows: 1, columns: 1)
///     writer.text("AA")
///     writer.input("temp", .fp32, rows: 1, columns: 1)
///     writer.number(3.2)
///     let request = writer.finish()
///
/// Names and texts are UTF-8 bytes and are copied. An input gets its values row by row, as many as its shape says; a value that its datatype
/// cannot hold is not written, and the call says so.
public final class InferRequestWriter {
  /// Where tensors' elements go.
  public enum Contents: Sendable {
    /// `raw_input_contents`: little endian, what clients send.
    case raw
    /// Each tensor's own `contents`. Not for FP16 and BF16.
    case typed
  }

  public let contents: Contents
  private let output = OutputBuffer()
  private let inputs = OutputBuffer()
  private let outputs = OutputBuffer()
  private let raw = OutputBuffer()
  /// The input that is being written: its head, its values, and scratch for a message inside.
  private let head = OutputBuffer(capacity: 256)
  private let values = OutputBuffer()
  private let scratch = OutputBuffer(capacity: 256)
  @exclusivity(unchecked) private var datatype = TensorDatatype.bytes
  @exclusivity(unchecked) private var hasInput = false

  public init(_ contents: Contents = .raw) { self.contents = contents }

  /// Starts a request. `version` empty: the one that the server would serve. `id` empty: none.
  public func begin(model: UnsafeRawBufferPointer, version: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer) {
    output.removeAll()
    inputs.removeAll()
    outputs.removeAll()
    raw.removeAll()
    hasInput = false
    if model.count > 0 { output.appendField(1, bytes: model) }
    if version.count > 0 { output.appendField(2, bytes: version) }
    if id.count > 0 { output.appendField(3, bytes: id) }
  }

  // MARK: Parameters, before the first input

  public func parameter(_ name: UnsafeRawBufferPointer, text: UnsafeRawBufferPointer) {
    scratch.removeAll()
    scratch.appendField(3, bytes: text)
    endParameter(name)
  }

  public func parameter(_ name: UnsafeRawBufferPointer, integer: Int64) {
    scratch.removeAll()
    scratch.appendField(2, int64: integer)
    endParameter(name)
  }

  public func parameter(_ name: UnsafeRawBufferPointer, number: Double) {
    scratch.removeAll()
    scratch.appendField(4, double: number)
    endParameter(name)
  }

  public func parameter(_ name: UnsafeRawBufferPointer, flag: Bool) {
    scratch.removeAll()
    scratch.appendField(1, varint: flag ? 1 : 0)
    endParameter(name)
  }

  /// The value stands in `scratch`.
  private func endParameter(_ name: UnsafeRawBufferPointer) {
    head.removeAll()
    head.appendField(1, bytes: name)
    head.appendField(2, bytes: scratch.bytes)
    output.appendField(4, bytes: head.bytes)
  }

  // MARK: Inputs

  /// Begins an input of shape [rows, columns]; its values follow.
  public func input(_ name: UnsafeRawBufferPointer, _ datatype: TensorDatatype, rows: Int, columns: Int) {
    beginInput(name, datatype)
    scratch.removeAll()
    scratch.appendVarint(UInt64(rows))
    scratch.appendVarint(UInt64(columns))
    head.appendField(3, bytes: scratch.bytes)
  }

  /// Begins an input of any shape.
  public func input(_ name: UnsafeRawBufferPointer, _ datatype: TensorDatatype, shape: UnsafeBufferPointer<Int64>) {
    beginInput(name, datatype)
    guard shape.count > 0 else { return }
    scratch.removeAll()
    for size in shape { scratch.appendVarint(UInt64(bitPattern: size)) }
    head.appendField(3, bytes: scratch.bytes)
  }

  /// An element of a BYTES input.
  @discardableResult
  public func text(_ value: UnsafeRawBufferPointer) -> Bool {
    guard datatype == .bytes else { return false }
    switch contents {
    case .raw:
      values.reserve(4).storeBytes(of: UInt32(truncatingIfNeeded: value.count).littleEndian, as: UInt32.self)
      values.advance(4)
      values.append(value)
    case .typed: values.appendField(8, bytes: value)
    }
    return true
  }

  /// An element of an FP32, FP64, FP16 or BF16 input.
  @discardableResult
  public func number(_ value: Double) -> Bool {
    switch datatype {
    case .fp32: store(Float(value).bitPattern.littleEndian)
    case .fp64: store(value.bitPattern.littleEndian)
    case .fp16 where contents == .raw: store(Float16(value).bitPattern.littleEndian)
    case .bf16 where contents == .raw: store(Self.bf16(Float(value)).littleEndian)
    default: return false
    }
    return true
  }

  /// An element of an integer input.
  @discardableResult
  public func integer(_ value: Int64) -> Bool {
    switch datatype {
    case .int8: put(Int8(exactly: value))
    case .int16: put(Int16(exactly: value))
    case .int32: put(Int32(exactly: value))
    case .int64: put(value)
    case .uint8: put(UInt8(exactly: value))
    case .uint16: put(UInt16(exactly: value))
    case .uint32: put(UInt32(exactly: value))
    case .uint64: put(UInt64(exactly: value))
    default: false
    }
  }

  /// An element of a BOOL input.
  @discardableResult
  public func flag(_ value: Bool) -> Bool {
    guard datatype == .bool else { return false }
    values.append(byte: value ? 1 : 0)
    return true
  }

  /// All elements of an input at once, in their raw form. For `raw` contents only.
  @discardableResult
  public func elements(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard contents == .raw else { return false }
    values.append(bytes)
    return true
  }

  /// Asks for an output by name; without any, the server sends all.
  public func requestOutput(_ name: UnsafeRawBufferPointer) {
    scratch.removeAll()
    scratch.appendField(1, bytes: name)
    outputs.appendField(6, bytes: scratch.bytes)
  }

  /// The request. Borrowed until the next `begin`.
  public func finish() -> UnsafeRawBufferPointer {
    endInput()
    output.append(inputs.bytes)
    output.append(outputs.bytes)
    output.append(raw.bytes)
    return output.bytes
  }

  // MARK: Parts

  private func beginInput(_ name: UnsafeRawBufferPointer, _ datatype: TensorDatatype) {
    endInput()
    hasInput = true
    self.datatype = datatype
    values.removeAll()
    head.removeAll()
    head.appendField(1, bytes: name)
    head.appendField(2, text: datatype.name)
  }

  private func endInput() {
    guard hasInput else { return }
    hasInput = false
    switch contents {
    case .raw: raw.appendField(7, bytes: values.bytes)
    case .typed:
      if let field = datatype.contentsField, values.count > 0 {
        if datatype == .bytes {
          head.appendField(5, bytes: values.bytes)
        } else {
          scratch.removeAll()
          scratch.appendField(field, bytes: values.bytes)
          head.appendField(5, bytes: scratch.bytes)
        }
      }
    }
    inputs.appendField(5, bytes: head.bytes)
  }

  @inline(__always)
  private func store<Value: FixedWidthInteger>(_ value: Value) {
    values.reserve(MemoryLayout<Value>.size).storeBytes(of: value, as: Value.self)
    values.advance(MemoryLayout<Value>.size)
  }

  @inline(__always)
  private func put<Value: FixedWidthInteger>(_ value: Value?) -> Bool {
    guard let value else { return false }
    switch contents {
    case .raw: store(value.littleEndian)
    case .typed: values.appendVarint(Value.isSigned ? UInt64(bitPattern: Int64(truncatingIfNeeded: value)) : UInt64(truncatingIfNeeded: value))
    }
    return true
  }

  /// Rounded to even; NaN stays NaN.
  private static func bf16(_ value: Float) -> UInt16 {
    guard value.isFinite else { return UInt16(truncatingIfNeeded: value.bitPattern >> 16) | (value.isNaN ? 0x40 : 0) }
    let bits = value.bitPattern
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}

extension InferRequestWriter {
  /// As above, for texts of setting up and of cold paths.
  public func begin(model: String, version: String = "", id: String = "") {
    withBytes(model) { model in withBytes(version) { version in withBytes(id) { begin(model: model, version: version, id: $0) } } }
  }

  public func parameter(_ name: String, text: String) { withBytes(name) { name in withBytes(text) { parameter(name, text: $0) } } }
  public func parameter(_ name: String, integer: Int64) { withBytes(name) { parameter($0, integer: integer) } }
  public func parameter(_ name: String, number: Double) { withBytes(name) { parameter($0, number: number) } }
  public func parameter(_ name: String, flag: Bool) { withBytes(name) { parameter($0, flag: flag) } }

  public func input(_ name: String, _ datatype: TensorDatatype, rows: Int, columns: Int) {
    withBytes(name) { input($0, datatype, rows: rows, columns: columns) }
  }

  public func input(_ name: String, _ datatype: TensorDatatype, shape: [Int64]) {
    withBytes(name) { name in shape.withUnsafeBufferPointer { input(name, datatype, shape: $0) } }
  }

  @discardableResult
  public func text(_ value: String) -> Bool { withBytes(value) { text($0) } }
  public func requestOutput(_ name: String) { withBytes(name) { requestOutput($0) } }
}

private func withBytes<Result>(_ text: String, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
  var text = text
  return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
}
