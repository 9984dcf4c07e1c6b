internal import RPC

/// The tracing settings of the V2 protocol. Requests are not traced, so the settings say that it is off, and can only be set to that.
struct TraceSettings {
  /// The settings as they stand, in a fixed order.
  static let current: [(name: String, values: [String])] = [
    ("trace_level", ["OFF"]), ("trace_rate", ["0"]), ("trace_count", ["0"]), ("log_frequency", ["0"]), ("trace_file", [""]), ("trace_mode", ["none"]),
  ]

  /// Nothing changes. A setting without values asks for its default, which is what there is.
  /// - Throws: INVALID_ARGUMENT that names the setting.
  static func apply(_ settings: [(name: String, values: [String])]) throws(RPCStatus) {
    for (name, values) in settings {
      guard let setting = current.first(where: { $0.name == name }) else {
        throw RPCStatus(.invalidArgument, "\(clipped(name)): no such setting; there are \(current.map(\.name).joined(separator: ", "))")
      }
      if values.isEmpty || values == setting.values { continue }
      if name == "trace_file" { throw RPCStatus(.invalidArgument, "trace_file: settings that name files are refused") }
      throw RPCStatus(.invalidArgument, "\(name): requests are not traced here: only \"\(setting.values.joined())\" can be set")
    }
  }

  /// inference.TraceSettingResponse.
  static var protobuf: [UInt8] {
    var writer = ProtobufWriter()
    for (name, values) in current {
      writer.message(1) { entry in
        entry.text(1, name)
        entry.message(2) { for value in values { $0.text(1, value) } }
      }
    }
    return writer.bytes
  }

  /// The settings as an object, as REST has them: levels are a list.
  static var message: ControlMessage {
    ControlMessage(current.map { name, values in (0, name, name == "trace_level" ? .texts(values) : .text(values.joined())) })
  }

  /// Settings and model of an inference.TraceSettingRequest.
  static func read(_ request: [UInt8]) throws(RPCStatus) -> (settings: [(name: String, values: [String])], model: String) {
    var settings: [(name: String, values: [String])] = []
    var model = ""
    var reader = ProtobufReader(request, of: "TraceSettingRequest")
    while let (number, value) = try reader.next() {
      switch number {
      case 1:
        let (name, setting) = try mapEntry(try reader.bytes(value, "settings"), of: "TraceSettingRequest.settings")
        var values: [String] = []
        var fields = ProtobufReader(setting, of: "TraceSettingRequest.settings[\"\(clipped(name))\"]")
        while let (number, value) = try fields.next() {
          if number == 1 { values.append(try fields.text(value, "value")) }
        }
        settings.append((name, values))
      case 2: model = try reader.text(value, "model_name")
      default: break
      }
    }
    return (settings, model)
  }
}
