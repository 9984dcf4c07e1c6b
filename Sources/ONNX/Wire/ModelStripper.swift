internal import Model

/// Rewrites a model's bytes with its large initializers taken out: each names the section that holds it instead.
enum ModelStripper {
  /// Smaller ones stay inside.
  static let largeBytesMin = 4096

  static func section(_ index: Int) -> String { "initializer.\(index)" }

  /// `isLarge[i]`: initializer i is taken out.
  static func strip(_ bytes: UnsafeRawBufferPointer, isLarge: [Bool]) throws(ONNXError) -> [UInt8] {
    var writer = ProtobufWriter()
    try copy(bytes, place: "file", into: &writer) { (field, contents, writer) throws(ONNXError) in
      guard field.number == 7, let contents else { return false }
      writer.message(7, try graph(contents, isLarge: isLarge))
      return true
    }
    return writer.bytes
  }

  private static func graph(_ bytes: UnsafeRawBufferPointer, isLarge: [Bool]) throws(ONNXError) -> [UInt8] {
    var writer = ProtobufWriter()
    var index = 0
    try copy(bytes, place: "graph", into: &writer) { (field, contents, writer) throws(ONNXError) in
      guard field.number == 5, let contents else { return false }
      defer { index += 1 }
      guard index < isLarge.count, isLarge[index] else { return false }
      writer.message(5, try tensor(contents, section: section(index)))
      return true
    }
    return writer.bytes
  }

  /// Name, type and dimensions stay.
  private static func tensor(_ bytes: UnsafeRawBufferPointer, section: String) throws(ONNXError) -> [UInt8] {
    var writer = ProtobufWriter()
    try copy(bytes, place: "initializer", into: &writer) { (field, _, _) throws(ONNXError) in ![1, 2, 8].contains(field.number) }
    var entry = ProtobufWriter()
    entry.string(1, "location")
    entry.string(2, section)
    writer.message(13, entry.bytes)
    writer.int(14, 1)
    return writer.bytes
  }

  /// Copies field by field; `replace` tells whether it has dealt with one. It is given the contents of strings and messages.
  private static func copy(
    _ bytes: UnsafeRawBufferPointer, place: String, into writer: inout ProtobufWriter,
    replace: (ProtobufReader.Field, UnsafeRawBufferPointer?, inout ProtobufWriter) throws(ONNXError) -> Bool
  ) throws(ONNXError) {
    var reader = ProtobufReader(bytes, place: place)
    while true {
      let start = reader.position
      guard let field = try reader.next() else { return }
      var contents: UnsafeRawBufferPointer?
      if field.wire == 2 { contents = try reader.bytes(field) } else { try reader.skip(field) }
      if try !replace(field, contents, &writer) { writer.raw(UnsafeRawBufferPointer(rebasing: bytes[start..<reader.position])) }
    }
  }
}
