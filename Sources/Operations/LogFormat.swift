internal import Logging

/// How a log line looks.
public enum LogFormat: String, Sendable, CaseIterable {
  /// One line for a person: time, level, logger, message, key=value.
  case text
  /// One JSON object in each line, for a log collector.
  case json

  /// `time` is in milliseconds since 1970.
  func line(
    timeMilliseconds: Int64, level: Logger.Level, label: String, message: String, metadata: Logger.Metadata, colour: Bool
  ) -> String {
    switch self {
    case .text: text(timeMilliseconds, level, label, message, metadata, colour)
    case .json: json(timeMilliseconds, level, label, message, metadata)
    }
  }

  private func text(
    _ time: Int64, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata, _ colour: Bool
  ) -> String {
    var line = colour ? "\u{1B}[2m" : ""
    line += Timestamp.text(milliseconds: time)
    line += colour ? "\u{1B}[0m \(Self.colour(of: level))" : " "
    let name = level.rawValue.uppercased()
    line += name + String(repeating: " ", count: max(0, 8 - name.count))
    line += colour ? "\u{1B}[0m" : ""
    // A new line or a control character in a message must not start a line of its own.
    line += "\(label): \(Self.singleLine(message))"
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      line += colour ? " \u{1B}[2m\(Self.singleLine(key))=\u{1B}[0m" : " \(Self.singleLine(key))="
      line += Self.quotedIfNeeded("\(value)")
    }
    return line
  }

  private func json(
    _ time: Int64, _ level: Logger.Level, _ label: String, _ message: String, _ metadata: Logger.Metadata
  ) -> String {
    var line = "{\"time\":\"\(Timestamp.text(milliseconds: time))\",\"level\":\"\(level.rawValue)\",\"logger\":"
    line += JSONText.quoted(label) + ",\"message\":" + JSONText.quoted(message)
    if !metadata.isEmpty { line += ",\"metadata\":" + Self.jsonValue(.dictionary(metadata)) }
    return line + "}"
  }

  private static func jsonValue(_ value: Logger.MetadataValue) -> String {
    switch value {
    case .string(let text): JSONText.quoted(text)
    case .stringConvertible(let convertible): JSONText.quoted(convertible.description)
    case .array(let values): "[" + values.map(jsonValue).joined(separator: ",") + "]"
    case .dictionary(let pairs):
      "{" + pairs.sorted { $0.key < $1.key }.map { JSONText.quoted($0.key) + ":" + jsonValue($0.value) }
        .joined(separator: ",") + "}"
    }
  }

  private static func colour(of level: Logger.Level) -> String {
    switch level {
    case .trace, .debug: "\u{1B}[90m"
    case .info, .notice: "\u{1B}[32m"
    case .warning: "\u{1B}[33m"
    case .error, .critical: "\u{1B}[31m"
    }
  }

  private static func singleLine(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": result += "\\n"
      case "\t": result += "\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: result += JSONText.unicodeEscape(scalar)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  private static func quotedIfNeeded(_ text: String) -> String {
    let plain = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != 0x7F }
    return plain ? text : JSONText.quoted(text)
  }
}

/// Text as a JSON string.
enum JSONText {
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F: result += unicodeEscape(scalar)
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  static func unicodeEscape(_ scalar: Unicode.Scalar) -> String {
    let hex = String(scalar.value, radix: 16)
    return "\\u" + String(repeating: "0", count: max(0, 4 - hex.count)) + hex
  }
}
