// Hot.
import CMessages

/// Walks the fields of one protobuf message. Slices are borrowed.
struct WireReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var position = 0
  private(set) var status = MR_STATUS_OK
  private(set) var field = mr_wire_field()

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Moves to the next field; false at the end, and when the message is broken (then `status` is not OK).
  @inline(__always)
  mutating func next() -> Bool {
    status = mr_wire_next(bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, &position, &field)
    return status == MR_STATUS_OK && field.number != 0
  }

  var number: UInt32 { field.number }
  var isVarint: Bool { field.wire_type == 0 }
  var isFixed64: Bool { field.wire_type == 1 }
  var isSlice: Bool { field.wire_type == 2 }
  var isFixed32: Bool { field.wire_type == 5 }
  var int64: Int64 { Int64(bitPattern: field.value) }
  var sint64: Int64 { Int64(bitPattern: field.value >> 1) ^ -Int64(bitPattern: field.value & 1) }
  var double: Double { Double(bitPattern: field.value) }
  var slice: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: field.bytes, count: field.length) }
}
