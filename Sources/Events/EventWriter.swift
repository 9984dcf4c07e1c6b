// Hot: generators write every event through this. No allocation once the buffers have grown.

/// Writes event records in one form. Owned by one thread and reused.
///
///     writer.begin(id: id, key: nil, eventTimeMilliseconds: time)
///     writer.text(name, value)…
///     let record = writer.finish()
///
/// Names, ids and texts are UTF-8 bytes and are copied. The same calls give the same row in each form.
public final class EventWriter {
  public let form: EventForm
  private let output = OutputBuffer()
  /// V2: the raw contents, which follow the inputs.
  private let contents = OutputBuffer()
  @exclusivity(unchecked) private var hasFeature = false
  @exclusivity(unchecked) private var label: Double?
  @exclusivity(unchecked) private var weight: Double?

  public init(form: EventForm) { self.form = form }

  /// Starts an event. `key` nil: the id decides the partition. `eventTimeMilliseconds` nil: the record's timestamp counts.
  public func begin(id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer?, eventTimeMilliseconds: Int64?) {
    output.removeAll()
    contents.removeAll()
    hasFeature = false
    label = nil
    weight = nil
    switch form {
    case .json:
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
      output.append(",\"features\":{")
    case .protobuf:
      output.appendField(1, bytes: id)
      if let key { output.appendField(2, bytes: key) }
      if let eventTimeMilliseconds { output.appendField(3, int64: eventTimeMilliseconds) }
    case .v2:
      output.appendField(3, bytes: id)
      if let key {
        let entry = beginParameter("key")
        output.appendField(3, bytes: key)
        endParameter(entry)
      }
      if let eventTimeMilliseconds {
        let entry = beginParameter("event_time")
        output.appendField(2, int64: eventTimeMilliseconds)
        endParameter(entry)
      }
    }
  }

  /// A categorical value.
  public func text(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    switch form {
    case .json:
      beginJSON(name)
      output.appendJSON(value)
    case .protobuf:
      let start = beginFeature(name)
      output.appendField(2, bytes: value)
      output.endMessage(start)
    case .v2:
      appendTensor(name, "BYTES", columns: 1)
      appendContents(text: value)
    }
  }

  /// Several values of one categorical feature.
  public func texts(_ name: UnsafeRawBufferPointer, _ values: [UnsafeRawBufferPointer]) {
    switch form {
    case .json:
      beginJSON(name)
      output.append(byte: UInt8(ascii: "["))
      for (i, value) in values.enumerated() {
        if i > 0 { output.append(byte: UInt8(ascii: ",")) }
        output.appendJSON(value)
      }
      output.append(byte: UInt8(ascii: "]"))
    case .protobuf:
      let start = beginFeature(name)
      for value in values { output.appendField(6, bytes: value) }
      output.endMessage(start)
    case .v2:
      appendTensor(name, "BYTES", columns: values.count)
      var bytes = 0
      for value in values { bytes += 4 + value.count }
      contents.appendVarint(7 << 3 | 2)
      contents.appendVarint(UInt64(bytes))
      for value in values { appendElement(value) }
    }
  }

  /// A whole number: the number of a numeric feature, or a categorical value.
  public func integer(_ name: UnsafeRawBufferPointer, _ value: Int64) {
    switch form {
    case .json:
      beginJSON(name)
      output.appendDecimal(value)
    case .protobuf:
      let start = beginFeature(name)
      output.appendField(3, int64: value)
      output.endMessage(start)
    case .v2:
      appendTensor(name, "INT64", columns: 1)
      contents.appendVarint(7 << 3 | 2)
      contents.appendVarint(8)
      contents.reserve(8).storeBytes(of: value.littleEndian, as: Int64.self)
      contents.advance(8)
    }
  }

  /// A number, which should be finite: JSON has no text for others and gets a null.
  public func number(_ name: UnsafeRawBufferPointer, _ value: Double) {
    switch form {
    case .json:
      beginJSON(name)
      output.appendDecimal(value)
    case .protobuf:
      let start = beginFeature(name)
      output.appendField(4, double: value)
      output.endMessage(start)
    case .v2:
      appendTensor(name, "FP64", columns: 1)
      contents.appendVarint(7 << 3 | 2)
      contents.appendVarint(8)
      contents.reserve(8).storeBytes(of: value.bitPattern.littleEndian, as: UInt64.self)
      contents.advance(8)
    }
  }

  /// The numbers of a vector, each as `number`.
  public func numbers(_ name: UnsafeRawBufferPointer, _ values: UnsafeBufferPointer<Double>) {
    switch form {
    case .json:
      beginJSON(name)
      output.append(byte: UInt8(ascii: "["))
      for i in 0..<values.count {
        if i > 0 { output.append(byte: UInt8(ascii: ",")) }
        output.appendDecimal(values[i])
      }
      output.append(byte: UInt8(ascii: "]"))
    case .protobuf:
      let start = beginFeature(name)
      appendDoubles(tag: 8 << 3 | 2, values, to: output)
      output.endMessage(start)
    case .v2:
      appendTensor(name, "FP64", columns: values.count)
      appendDoubles(tag: 7 << 3 | 2, values, to: contents)
    }
  }

  /// Several whole numbers: values of one categorical feature, or the numbers of a vector.
  public func integers(_ name: UnsafeRawBufferPointer, _ values: UnsafeBufferPointer<Int64>) {
    switch form {
    case .json:
      beginJSON(name)
      output.append(byte: UInt8(ascii: "["))
      for i in 0..<values.count {
        if i > 0 { output.append(byte: UInt8(ascii: ",")) }
        output.appendDecimal(values[i])
      }
      output.append(byte: UInt8(ascii: "]"))
    case .protobuf:
      let start = beginFeature(name)
      for value in values { output.appendField(7, int64: value) }
      output.endMessage(start)
    case .v2:
      appendTensor(name, "INT64", columns: values.count)
      contents.appendVarint(7 << 3 | 2)
      contents.appendVarint(UInt64(values.count * 8))
      for value in values {
        contents.reserve(8).storeBytes(of: value.littleEndian, as: Int64.self)
        contents.advance(8)
      }
    }
  }

  /// A truth value.
  public func flag(_ name: UnsafeRawBufferPointer, _ value: Bool) {
    switch form {
    case .json:
      beginJSON(name)
      if value { output.append("true") } else { output.append("false") }
    case .protobuf:
      let start = beginFeature(name)
      output.appendField(5, varint: value ? 1 : 0)
      output.endMessage(start)
    case .v2:
      appendTensor(name, "BOOL", columns: 1)
      contents.appendVarint(7 << 3 | 2)
      contents.appendVarint(1)
      contents.append(byte: value ? 1 : 0)
    }
  }

  /// Makes the event an example that is given directly: features and outcome together.
  public func outcome(label: Double, weight: Double? = nil) {
    self.label = label
    self.weight = weight
  }

  /// The record. Borrowed until the next `begin`.
  public func finish() -> UnsafeRawBufferPointer {
    switch form {
    case .json:
      output.append(byte: UInt8(ascii: "}"))
      if let label {
        output.append(",\"label\":")
        output.appendDecimal(label)
      }
      if let weight {
        output.append(",\"weight\":")
        output.appendDecimal(weight)
      }
      output.append(byte: UInt8(ascii: "}"))
    case .protobuf:
      if let label { output.appendField(5, double: label) }
      if let weight { output.appendField(6, double: weight) }
    case .v2:
      if let label {
        let entry = beginParameter("label")
        output.appendField(4, double: label)
        endParameter(entry)
      }
      if let weight {
        let entry = beginParameter("weight")
        output.appendField(4, double: weight)
        endParameter(entry)
      }
      output.append(contents.bytes)
    }
    return output.bytes
  }

  // MARK: Parts

  private func beginJSON(_ name: UnsafeRawBufferPointer) {
    if hasFeature { output.append(byte: UInt8(ascii: ",")) }
    hasFeature = true
    output.appendJSON(name)
    output.append(byte: UInt8(ascii: ":"))
  }

  private func beginFeature(_ name: UnsafeRawBufferPointer) -> Int {
    let start = output.beginMessage(4)
    output.appendField(1, bytes: name)
    return start
  }

  private func beginParameter(_ name: StaticString) -> (entry: Int, value: Int) {
    let entry = output.beginMessage(4)
    output.appendField(1, text: name)
    return (entry, output.beginMessage(2))
  }

  private func endParameter(_ starts: (entry: Int, value: Int)) {
    output.endMessage(starts.value)
    output.endMessage(starts.entry)
  }

  private func appendTensor(_ name: UnsafeRawBufferPointer, _ datatype: StaticString, columns: Int) {
    let tensor = output.beginMessage(5)
    output.appendField(1, bytes: name)
    output.appendField(2, text: datatype)
    let shape = output.beginMessage(3)
    output.appendVarint(1)
    output.appendVarint(UInt64(columns))
    output.endMessage(shape)
    output.endMessage(tensor)
  }

  private func appendDoubles(tag: UInt64, _ values: UnsafeBufferPointer<Double>, to output: OutputBuffer) {
    output.appendVarint(tag)
    output.appendVarint(UInt64(values.count * 8))
    for value in values {
      output.reserve(8).storeBytes(of: value.bitPattern.littleEndian, as: UInt64.self)
      output.advance(8)
    }
  }

  private func appendContents(text: UnsafeRawBufferPointer) {
    contents.appendVarint(7 << 3 | 2)
    contents.appendVarint(UInt64(4 + text.count))
    appendElement(text)
  }

  private func appendElement(_ text: UnsafeRawBufferPointer) {
    contents.reserve(4).storeBytes(of: UInt32(truncatingIfNeeded: text.count).littleEndian, as: UInt32.self)
    contents.advance(4)
    contents.append(text)
  }
}

extension EventWriter {
  /// As above, for texts of setting up and tests.
  public func begin(id: String, key: String? = nil, eventTimeMilliseconds: Int64? = nil) {
    withBytes(id) { id in
      if let key {
        withBytes(key) { begin(id: id, key: $0, eventTimeMilliseconds: eventTimeMilliseconds) }
      } else {
        begin(id: id, key: nil, eventTimeMilliseconds: eventTimeMilliseconds)
      }
    }
  }

  public func text(_ name: String, _ value: String) { withBytes(name) { name in withBytes(value) { text(name, $0) } } }
  public func integer(_ name: String, _ value: Int64) { withBytes(name) { integer($0, value) } }
  public func number(_ name: String, _ value: Double) { withBytes(name) { number($0, value) } }
  public func numbers(_ name: String, _ values: [Double]) {
    withBytes(name) { name in values.withUnsafeBufferPointer { numbers(name, $0) } }
  }
  public func integers(_ name: String, _ values: [Int64]) {
    withBytes(name) { name in values.withUnsafeBufferPointer { integers(name, $0) } }
  }
  public func flag(_ name: String, _ value: Bool) { withBytes(name) { flag($0, value) } }

  public func texts(_ name: String, _ values: [String]) {
    let joined = OutputBuffer()
    var ends: [Int] = []
    for value in values {
      joined.append(value)
      ends.append(joined.count)
    }
    var slices: [UnsafeRawBufferPointer] = []
    var start = 0
    for end in ends {
      slices.append(UnsafeRawBufferPointer(rebasing: joined.bytes[start..<end]))
      start = end
    }
    withBytes(name) { texts($0, slices) }
    withExtendedLifetime(joined) {}
  }
}

private func withBytes(_ text: String, _ body: (UnsafeRawBufferPointer) -> Void) {
  var text = text
  text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
}
