import Model

/// Names of categories, which models of XGBoost 3.1 and later carry (`cats`): for each feature what stood in the data frame's column.
enum XGBoostCategories {
  /// A code at or above this one is no category (2^24, where floats stop counting).
  static let codesMax: Int32 = 16_777_216

  static func read<Cursor: DocumentCursor>(_ cursor: inout Cursor) throws(ImportError) -> [NamedColumn] {
    var all: [NamedColumn] = []
    try cursor.object { (cursor, key) throws(ImportError) in
      guard key == "enc" else {
        try cursor.skip()
        return
      }
      all.removeAll()
      try cursor.array { (cursor, feature) throws(ImportError) in
        let names = try column(&cursor)
        if !names.isEmpty { all.append(NamedColumn(feature: feature, names: names)) }
      }
    }
    return all
  }

  /// Texts are offsets into bytes; integers stand for themselves.
  private static func column<Cursor: DocumentCursor>(_ cursor: inout Cursor) throws(ImportError) -> [CategoryName] {
    var offsets: [Int32]?
    var values: [Int] = []
    try cursor.object { (cursor, key) throws(ImportError) in
      switch key {
      case "offsets":
        var list: [Int32] = []
        try cursor.integers(into: &list)
        offsets = list
      case "values":
        values.removeAll()
        try cursor.array { (cursor, _) throws(ImportError) in values.append(try cursor.integer()) }
      default: try cursor.skip()
      }
    }
    guard let offsets else { return values.map { .integer(Int64($0)) } }
    guard offsets.count > 1 else { return [] }
    var names: [CategoryName] = []
    let bytes = values.map { UInt8(truncatingIfNeeded: $0) }
    for (start, end) in zip(offsets, offsets.dropFirst()) {
      guard start >= 0, end >= start, Int(end) <= bytes.count else { throw cursor.problem("offsets \(start) and \(end) of \(bytes.count) bytes") }
      names.append(.text(String(decoding: bytes[Int(start)..<Int(end)], as: UTF8.self)))
    }
    return names
  }
}
