import Events
import Foundation
import MillraceClient

extension Tensor {
  /// The values of one row as JSON: one, or a list. Types that models do not answer with are `null`.
  func shownValues(row: Int, of rows: Int) -> String {
    let values = elements()
    guard rows > 0, values.count % rows == 0 else { return "null" }
    let count = values.count / rows
    let own = values[row * count..<(row + 1) * count].joined(separator: ",")
    return count == 1 ? own : "[\(own)]"
  }

  private func elements() -> [String] {
    let buffer = OutputBuffer()
    func text(_ write: () -> Void) -> String {
      buffer.removeAll()
      write()
      return String(decoding: buffer.bytes, as: UTF8.self)
    }
    func all<Value: BitwiseCopyable>(_ type: Value.Type, _ show: (Value) -> String) -> [String] {
      let size = MemoryLayout<Value>.size
      return bytes.withUnsafeBytes { bytes in (0..<bytes.count / size).map { show(bytes.loadUnaligned(fromByteOffset: $0 * size, as: Value.self)) } }
    }
    switch datatype {
    case .fp32: return all(Float.self) { value in text { buffer.appendDecimal(value) } }
    case .fp64: return all(Double.self) { value in text { buffer.appendDecimal(value) } }
    case .int64: return all(Int64.self) { "\($0)" }
    case .int32: return all(Int32.self) { "\($0)" }
    case .int16: return all(Int16.self) { "\($0)" }
    case .int8: return all(Int8.self) { "\($0)" }
    case .uint64: return all(UInt64.self) { "\($0)" }
    case .uint32: return all(UInt32.self) { "\($0)" }
    case .uint16: return all(UInt16.self) { "\($0)" }
    case .uint8: return all(UInt8.self) { "\($0)" }
    case .bool: return all(UInt8.self) { $0 == 0 ? "false" : "true" }
    case .bytes:
      var found: [String] = []
      var at = 0
      while bytes.count - at >= 4 {
        let length = Int(bytes[at]) | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]) << 16 | Int(bytes[at + 3]) << 24
        guard length <= bytes.count - at - 4 else { break }
        let value = bytes[at + 4..<at + 4 + length]
        found.append(text { buffer.appendJSON(String(decoding: value, as: UTF8.self)) })
        at += 4 + length
      }
      return found
    case .fp16, .bf16: return []
    }
  }
}
