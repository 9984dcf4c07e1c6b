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

  /// The columns whose names are as they were. Before 3.4, XGBoost wrote lengths in letters where it meant bytes (dmlc/xgboost#12371): with a
  /// name that is not all ASCII, those behind it in the column are shifted and the last ones cut, and nothing says which.
  static func whole(_ columns: [NamedColumn], version: [Int], featureNames: [String], notes: inout [String]) -> [NamedColumn] {
    guard version.count < 2 || (version[0], version[1]) < (3, 4) else { return columns }
    return columns.filter { column in
      let isWhole = column.names.allSatisfy { if case .text(let text) = $0 { text.utf8.allSatisfy { $0 < 0x80 } } else { true } }
      if !isWhole {
        notes.append(
          "names of categories of feature \(column.title(featureNames)) are left out: XGBoost before 3.4 cuts names that are not all ASCII: send codes, "
            + "or train with names of ASCII or a newer XGBoost")
      }
      return isWhole
    }
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
