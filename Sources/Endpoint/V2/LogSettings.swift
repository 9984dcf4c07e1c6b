internal import Logging
internal import Operations
internal import RPC

/// The logging settings of the V2 protocol, over one log level: what they call info, warning and error are the levels of a scale, so one
/// cannot be off while a less urgent one is on.
struct LogSettings {
  enum Value: Equatable {
    case flag(Bool)
    case number(UInt32)
    case text(String)
  }

  let levels: LogLevelSwitch

  /// What the protocol can say of a level. Levels between, such as notice, look like the next more urgent one.
  private struct Scale: Equatable {
    var info: Bool
    var warning: Bool
    var error: Bool
    var verbose: UInt32

    init(_ level: Logger.Level) {
      info = level <= .info
      warning = level <= .warning
      error = level <= .error
      verbose = level == .trace ? 2 : level == .debug ? 1 : 0
    }

    var level: Logger.Level {
      if verbose > 0 { return verbose == 1 ? .debug : .trace }
      return info ? .info : warning ? .warning : error ? .error : .critical
    }
  }

  /// The settings as they stand, in a fixed order.
  var current: [(name: String, value: Value)] {
    let scale = Scale(levels.level)
    return [
      ("log_file", .text("")), ("log_info", .flag(scale.info)), ("log_warning", .flag(scale.warning)), ("log_error", .flag(scale.error)),
      ("log_verbose_level", .number(scale.verbose)), ("log_format", .text("default")),
    ]
  }

  /// Applies all of the settings, or none.
  /// - Throws: INVALID_ARGUMENT that names the setting.
  func apply(_ settings: [(name: String, value: Value)]) throws(RPCStatus) {
    let before = Scale(levels.level)
    var scale = before
    for (name, value) in settings {
      switch name {
      case "log_info": scale.info = try flag(name, value)
      case "log_warning": scale.warning = try flag(name, value)
      case "log_error": scale.error = try flag(name, value)
      case "log_verbose_level": scale.verbose = try number(name, value)
      case "log_file":
        // An empty name is what is there already.
        if value != .text("") { throw problem(name, "settings that name files are refused; the log goes to standard error") }
      case "log_format":
        if value != .text("default") {
          throw problem(name, "only \"default\" can be set while the server runs; the configuration's logging.format decides at start")
        }
      default: throw problem(clipped(name), "no such setting; there are \(current.map(\.name).joined(separator: ", "))")
      }
    }
    if scale.verbose > 0, !scale.info { throw problem("log_verbose_level", "cannot be above 0 while log_info is off: set both") }
    if scale.info, !scale.warning { throw problem("log_warning", "cannot be off while log_info is on: set both") }
    if scale.warning, !scale.error { throw problem("log_error", "cannot be off while log_warning is on: set both") }
    if scale != before { levels.level = scale.level }
  }

  private func flag(_ name: String, _ value: Value) throws(RPCStatus) -> Bool {
    switch value {
    case .flag(let flag): return flag
    case .number(let number) where number <= 1: return number == 1
    default: throw problem(name, "the value must be true or false")
    }
  }

  private func number(_ name: String, _ value: Value) throws(RPCStatus) -> UInt32 {
    guard case .number(let number) = value else { throw problem(name, "the value must be a number: 0, 1 (debug) or 2 (trace)") }
    return number
  }

  private func problem(_ name: String, _ reason: String) -> RPCStatus { RPCStatus(.invalidArgument, "\(name): \(reason)") }
}

extension LogSettings {
  /// inference.LogSettingsResponse.
  var protobuf: [UInt8] {
    var writer = ProtobufWriter()
    for (name, value) in current {
      writer.message(1) { entry in
        entry.text(1, name)
        entry.message(2) { setting in
          switch value {
          case .flag(let flag): setting.varint(1, flag ? 1 : 0)
          case .number(let number): setting.varint(2, UInt64(number))
          case .text(let text): setting.text(3, text)
          }
        }
      }
    }
    return writer.bytes
  }

  /// The settings as an object, as REST has them.
  var message: ControlMessage {
    ControlMessage(current.map { name, value in
      switch value {
      case .flag(let flag): (0, name, .flag(flag))
      case .number(let number): (0, name, .integer(Int64(number)))
      case .text(let text): (0, name, .text(text))
      }
    })
  }

  /// The settings of an inference.LogSettingsRequest.
  static func settings(of request: [UInt8]) throws(RPCStatus) -> [(name: String, value: Value)] {
    var settings: [(name: String, value: Value)] = []
    var reader = ProtobufReader(request, of: "LogSettingsRequest")
    while let (number, value) = try reader.next() {
      guard number == 1 else { continue }
      let (name, setting) = try mapEntry(try reader.bytes(value, "settings"), of: "LogSettingsRequest.settings")
      var fields = ProtobufReader(setting, of: "LogSettingsRequest.settings[\"\(clipped(name))\"]")
      var parsed: Value?
      while let (number, value) = try fields.next() {
        switch number {
        case 1: parsed = .flag(try fields.number(value, "bool_param") != 0)
        case 2: parsed = .number(UInt32(truncatingIfNeeded: try fields.number(value, "uint32_param")))
        case 3: parsed = .text(try fields.text(value, "string_param"))
        default: break
        }
      }
      guard let parsed else { throw RPCStatus(.invalidArgument, "\(clipped(name)): the setting has no value") }
      settings.append((name, parsed))
    }
    return settings
  }
}

/// Key and value of one entry of a map from strings to messages.
func mapEntry(_ bytes: ArraySlice<UInt8>, of name: String) throws(RPCStatus) -> (key: String, value: ArraySlice<UInt8>) {
  var key = ""
  var entry: ArraySlice<UInt8> = []
  var reader = ProtobufReader(bytes, of: name)
  while let (number, value) = try reader.next() {
    switch number {
    case 1: key = try reader.text(value, "key")
    case 2: entry = try reader.bytes(value, "value")
    default: break
    }
  }
  return (key, entry)
}
