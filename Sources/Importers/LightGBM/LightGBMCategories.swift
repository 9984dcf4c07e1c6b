/// Names of categories that LightGBM's Python package leaves behind the model: `pandas_categorical:` has, for each categorical column of
/// the data frame in turn, the values in the order of their codes. Which columns those were stands in the parameters.
struct LightGBMCategories {
  private var columns: [[String]] = []
  /// From the parameters: "[categorical_feature: 4,5]".
  private var features: [Int]?

  mutating func take(_ line: TextSlice, number: Int) throws(ImportError) {
    if line.starts(with: Self.parameter) {
      var list: [Int] = []
      for word in line.dropping(Self.parameter.utf8CodeUnitCount).string.split(whereSeparator: { ",] ".contains($0) }) {
        guard let feature = Int(word) else { return }
        list.append(feature)
      }
      features = list.sorted()
    } else if line.starts(with: Self.names) {
      do throws(ImportError) {
        try read(line.dropping(Self.names.utf8CodeUnitCount))
      } catch {
        throw ImportError(place: "line \(number), pandas_categorical\(error.place)", reason: error.reason)
      }
    }
  }

  /// The columns' features; a note when the file does not say which they are.
  func resolve(featureCount: Int, infos: TextSlice?, notes: inout [String]) -> [CategoryNames] {
    guard !columns.isEmpty else { return [] }
    let stated = features ?? []
    let own = stated.count == columns.count ? stated : Self.categorical(infos)
    guard own.count == columns.count, own.allSatisfy({ $0 >= 0 && $0 < featureCount }) else {
      notes.append("names of \(columns.count) categorical columns are in the file, but not which features they belong to: send codes, not names")
      return []
    }
    return zip(own, columns).map { CategoryNames(feature: $0, names: $1) }
  }

  private mutating func read(_ json: TextSlice) throws(ImportError) {
    var cursor = JSONCursor(json.bytes)
    guard try cursor.kind() == .array else { return }
    var all: [[String]] = []
    try cursor.array { (cursor, _) throws(ImportError) in
      var names: [String] = []
      try cursor.array { (cursor, _) throws(ImportError) in names.append(try cursor.scalarText()) }
      all.append(names)
    }
    columns = all
  }

  /// Features whose values were listed one by one ("3:1:0") and not as a range ("[0:1]") or not at all ("none").
  private static func categorical(_ infos: TextSlice?) -> [Int] {
    var found: [Int] = []
    var index = 0
    infos?.forEachWord { word in
      if word.bytes.first != UInt8(ascii: "["), !(word == "none") { found.append(index) }
      index += 1
    }
    return found
  }

  private static let parameter: StaticString = "[categorical_feature: "
  private static let names: StaticString = "pandas_categorical:"
}
