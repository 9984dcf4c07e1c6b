import Foundation

/// A failure that is told in one line.
struct CleanFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A table: columns as wide as their widest text, two spaces between.
func printColumns(_ rows: [[String]]) {
  guard let first = rows.first else { return }
  let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
  for row in rows {
    var line = zip(row, widths).map { text, width in text + String(repeating: " ", count: width - text.count) }.joined(separator: "  ")
    while line.last == " " { line.removeLast() }
    print(line)
  }
}

/// Sixteen hexadecimal digits.
func hex(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

func printJSON(_ object: [String: Any]) throws {
  let data = try JSONSerialization.data(withJSONObject: object, options: [.prettyPrinted, .sortedKeys])
  print(String(decoding: data, as: UTF8.self))
}

/// Eight hexadecimal digits.
func crcText(_ checksum: UInt32) -> String { String(hex(UInt64(checksum)).suffix(8)) }

/// "1.5 MiB"
func byteText(_ count: Int) -> String {
  if count < 1024 { return "\(count) B" }
  var value = Double(count) / 1024
  for unit in ["KiB", "MiB", "GiB"] {
    if value < 1024 { return String(format: value < 10 ? "%.1f %@" : "%.0f %@", value, unit) }
    value /= 1024
  }
  return String(format: "%.1f TiB", value)
}
