// Reads tens of megabytes while somebody waits: fields are slices, nothing is allocated for a row.

/// Reads comma-separated rows (RFC 4180: quoted fields, doubled quotes, CR LF or LF) from bytes that outlive it.
final class CSVReader {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  /// Of the row that was read last; the header is line 1.
  private(set) var line = 0
  private var nextLine = 1
  private var starts: [Int] = []
  private var ends: [Int] = []
  private var isUnquoted: [Bool] = []
  /// Quoted fields without their quotes.
  private var unquoted: [UInt8] = []
  private(set) var fieldCount = 0

  init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
    // A byte order mark is no part of the first name.
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
  }

  /// How much of the bytes is read.
  var fraction: Double { bytes.isEmpty ? 1 : Double(position) / Double(bytes.count) }

  /// Reads the next row; false at the end. Empty lines are skipped.
  func next() -> Bool {
    while position < bytes.count, bytes[position] == UInt8(ascii: "\n") || bytes[position] == UInt8(ascii: "\r") {
      if bytes[position] == UInt8(ascii: "\n") { nextLine += 1 }
      position += 1
    }
    guard position < bytes.count else { return false }
    line = nextLine
    fieldCount = 0
    unquoted.removeAll(keepingCapacity: true)
    while true {
      if position < bytes.count, bytes[position] == UInt8(ascii: "\"") { readQuoted() } else { readPlain() }
      guard position < bytes.count else { return true }
      let end = bytes[position]
      position += 1
      if end == UInt8(ascii: ",") { continue }
      nextLine += 1
      return true
    }
  }

  /// Gives `body` the bytes of field `index`; empty when the row has no such field.
  @inline(__always)
  func withField<Value>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
    guard index < fieldCount else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
    if isUnquoted[index] {
      return unquoted.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[starts[index]..<ends[index]])) }
    }
    return body(UnsafeRawBufferPointer(rebasing: bytes[starts[index]..<ends[index]]))
  }

  func text(_ index: Int) -> String { withField(index) { String(decoding: $0, as: UTF8.self) } }

  /// R writes what it does not have as NA.
  func isMissing(_ index: Int) -> Bool {
    withField(index) { $0.isEmpty || ($0.count == 2 && $0[0] == UInt8(ascii: "N") && $0[1] == UInt8(ascii: "A")) }
  }

  /// A whole number; nil for anything else.
  func integer(_ index: Int) -> Int? {
    withField(index) { field in
      guard field.count > 0, field.count <= 15 else { return nil }
      var value = 0
      let isNegative = field[0] == UInt8(ascii: "-")
      guard field.count > (isNegative ? 1 : 0) else { return nil }
      for byte in field.dropFirst(isNegative ? 1 : 0) {
        guard byte >= 48, byte <= 57 else { return nil }
        value = value * 10 + Int(byte - 48)
      }
      return isNegative ? -value : value
    }
  }

  /// A finite number; nil for anything else.
  func number(_ index: Int) -> Double? {
    if let whole = integer(index) { return Double(whole) }
    guard let value = Double(text(index)), value.isFinite else { return nil }
    return value
  }

  private func readPlain() {
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\n") { break }
      position += 1
    }
    var end = position
    if end > start, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    note(start, end, isUnquoted: false)
  }

  private func readQuoted() {
    position += 1
    let start = unquoted.count
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == UInt8(ascii: "\"") {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { break }
        position += 1
      }
      if byte == UInt8(ascii: "\n") { nextLine += 1 }
      unquoted.append(byte)
    }
    note(start, unquoted.count, isUnquoted: true)
    // Whatever stands between the quote and the comma is dropped.
    while position < bytes.count, bytes[position] != UInt8(ascii: ","), bytes[position] != UInt8(ascii: "\n") { position += 1 }
  }

  private func note(_ start: Int, _ end: Int, isUnquoted quoted: Bool) {
    if fieldCount == starts.count {
      starts.append(0)
      ends.append(0)
      isUnquoted.append(false)
    }
    starts[fieldCount] = start
    ends[fieldCount] = end
    isUnquoted[fieldCount] = quoted
    fieldCount += 1
  }
}
