// Hot: no allocation once the buffer has grown.

/// Writes label records in JSON or protobuf. Owned by one thread and reused.
public final class LabelWriter {
  public let form: EventForm
  private let output = OutputBuffer(capacity: 256)

  /// `form`: V2 has no labels; it stands for protobuf.
  public init(form: EventForm) { self.form = form == .v2 ? .protobuf : form }

  /// The record. Borrowed until the next call.
  public func write(
    id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer?, eventTimeMilliseconds: Int64?, label: Double, weight: Double? = nil
  ) -> UnsafeRawBufferPointer {
    output.removeAll()
    if form == .json {
      output.append("{\"id\":")
      output.appendJSON(id)
      if let key {
        output.append(",\"key\":")
        output.appendJSON(key)
      }
      if let eventTimeMilliseconds {
        output.append(",\"event_time\":")
        output.appendDecimal(eventTimeMilliseconds)
      }
      output.append(",\"label\":")
      output.appendDecimal(label)
      if let weight {
        output.append(",\"weight\":")
        output.appendDecimal(weight)
      }
      output.append(byte: UInt8(ascii: "}"))
    } else {
      output.appendField(1, bytes: id)
      if let key { output.appendField(2, bytes: key) }
      if let eventTimeMilliseconds { output.appendField(3, int64: eventTimeMilliseconds) }
      output.appendField(4, double: label)
      if let weight { output.appendField(5, double: weight) }
    }
    return output.bytes
  }

  /// As above, for texts.
  public func write(
    id: String, key: String? = nil, eventTimeMilliseconds: Int64?, label: Double, weight: Double? = nil
  ) -> UnsafeRawBufferPointer {
    var id = id
    return id.withUTF8 { id in
      guard var key else {
        return write(
          id: UnsafeRawBufferPointer(id), key: nil, eventTimeMilliseconds: eventTimeMilliseconds, label: label, weight: weight)
      }
      return key.withUTF8 {
        write(
          id: UnsafeRawBufferPointer(id), key: UnsafeRawBufferPointer($0), eventTimeMilliseconds: eventTimeMilliseconds,
          label: label, weight: weight)
      }
    }
  }
}
