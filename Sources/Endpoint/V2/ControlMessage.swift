internal import Events
internal import RPC

/// An answer of a control call, made once and written in two forms: protobuf for gRPC, JSON for REST. Names and numbers are those of
/// protos/inference/inference.proto, which a test compares by parsing both.
struct ControlMessage {
  enum Value {
    case text(String)
    case integer(Int64)
    case flag(Bool)
    /// A value of an enumeration: its number, and its name in JSON.
    case choice(UInt64, String)
    case message(ControlMessage)
    case texts([String])
    case integers([Int64])
    case messages([ControlMessage])
    /// A map from texts, in this order.
    case map([(key: String, value: Value)])
  }

  struct Field {
    var number: UInt32
    var name: String
    var value: Value
  }

  var fields: [Field] = []

  init(_ fields: [(UInt32, String, Value)] = []) {
    self.fields = fields.map { Field(number: $0.0, name: $0.1, value: $0.2) }
  }

  // MARK: Protobuf: defaults are left out, as proto3 does

  var protobuf: [UInt8] {
    var writer = ProtobufWriter()
    write(to: &writer)
    return writer.bytes
  }

  private func write(to writer: inout ProtobufWriter) {
    for field in fields { Self.write(field.value, as: field.number, to: &writer) }
  }

  private static func write(_ value: Value, as number: UInt32, to writer: inout ProtobufWriter) {
    switch value {
    case .text(let text): if !text.isEmpty { writer.text(number, text) }
    case .integer(let integer): if integer != 0 { writer.varint(number, UInt64(bitPattern: integer)) }
    case .flag(let flag): if flag { writer.varint(number, 1) }
    case .choice(let choice, _): if choice != 0 { writer.varint(number, choice) }
    case .message(let message): writer.message(number) { message.write(to: &$0) }
    case .texts(let texts): for text in texts { writer.text(number, text) }
    case .integers(let integers): writer.packed(number, integers.map { UInt64(bitPattern: $0) })
    case .messages(let messages): for message in messages { writer.message(number) { message.write(to: &$0) } }
    case .map(let entries):
      for entry in entries {
        writer.message(number) {
          $0.text(1, entry.key)
          write(entry.value, as: 2, to: &$0)
        }
      }
    }
  }

  // MARK: JSON: every field is there, so that readers need no defaults

  func writeJSON(to output: OutputBuffer) {
    output.append("{")
    for (index, field) in fields.enumerated() {
      if index > 0 { output.append(",") }
      output.appendJSON(field.name)
      output.append(":")
      Self.writeJSON(field.value, to: output)
    }
    output.append("}")
  }

  private static func writeJSON(_ value: Value, to output: OutputBuffer) {
    switch value {
    case .text(let text), .choice(_, let text): output.appendJSON(text)
    case .integer(let integer): output.appendDecimal(integer)
    case .flag(let flag): output.append(flag ? "true" : "false")
    case .message(let message): message.writeJSON(to: output)
    case .texts(let texts): writeList(texts, to: output) { output.appendJSON($0) }
    case .integers(let integers): writeList(integers, to: output) { output.appendDecimal($0) }
    case .messages(let messages): writeList(messages, to: output) { $0.writeJSON(to: output) }
    case .map(let entries):
      output.append("{")
      for (index, entry) in entries.enumerated() {
        if index > 0 { output.append(",") }
        output.appendJSON(entry.key)
        output.append(":")
        writeJSON(entry.value, to: output)
      }
      output.append("}")
    }
  }

  static func writeList<Element>(_ elements: [Element], to output: OutputBuffer, _ write: (Element) -> Void) {
    output.append("[")
    for (index, element) in elements.enumerated() {
      if index > 0 { output.append(",") }
      write(element)
    }
    output.append("]")
  }
}
