/// Writes a ModelInferRequest of one row.
final class InferRequestWriter {
  private var head: [UInt8] = []
  private var contents: [UInt8] = []

  func begin(model: String, version: String) {
    head.removeAll(keepingCapacity: true)
    contents.removeAll(keepingCapacity: true)
    field(1, Array(model.utf8), &head)
    if !version.isEmpty { field(2, Array(version.utf8), &head) }
  }

  func texts(_ name: String, _ values: [String]) {
    tensor(name, "BYTES", values.count)
    var raw: [UInt8] = []
    for value in values {
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: value.utf8.count).littleEndian) { raw += $0 }
      raw += value.utf8
    }
    field(7, raw, &contents)
  }

  func integers(_ name: String, _ values: [Int64]) {
    tensor(name, "INT64", values.count)
    field(7, values.flatMap { withUnsafeBytes(of: $0.littleEndian) { Array($0) } }, &contents)
  }

  func floats(_ name: String, _ values: [Float]) {
    tensor(name, "FP32", values.count)
    field(7, values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian) { Array($0) } }, &contents)
  }

  func finish() -> [UInt8] { head + contents }

  private func tensor(_ name: String, _ datatype: String, _ columns: Int) {
    var tensor: [UInt8] = []
    field(1, Array(name.utf8), &tensor)
    field(2, Array(datatype.utf8), &tensor)
    var shape: [UInt8] = [1]
    varint(UInt64(columns), &shape)
    field(3, shape, &tensor)
    field(5, tensor, &head)
  }

  private func field(_ number: UInt64, _ bytes: [UInt8], _ out: inout [UInt8]) {
    varint(number << 3 | 2, &out)
    varint(UInt64(bytes.count), &out)
    out += bytes
  }

  private func varint(_ value: UInt64, _ out: inout [UInt8]) {
    var rest = value
    while rest >= 0x80 {
      out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.append(UInt8(rest))
  }
}
