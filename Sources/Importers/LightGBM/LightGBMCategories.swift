import Model

/// Names of categories that LightGBM's Python package leaves behind the model: `pandas_categorical:` has, for each categorical column of
/// the data frame in turn, the values in the order of their codes. Which columns those were stands in the parameters.
struct LightGBMCategories {
  private var columns: [[CategoryName]] = []
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
  ///
  /// The file lists the features that splits take as categories, and the columns that the data frame had as categories. These are the same
  /// unless columns were ordered (which splits take as numbers) or others were declared; then the columns, in their order, are matched to
  /// features whose values in training can be their codes, when there is but one way to do so.
  func resolve(featureCount: Int, featureNames: [String], infos: TextSlice?, notes: inout [String]) -> [ColumnCategories] {
    guard !columns.isEmpty else { return [] }
    let values = FeatureValues.read(infos, featureCount: featureCount)
    var own = features ?? []
    if own.count != columns.count || !zip(own, columns).allSatisfy({ feature, names in
      feature >= 0 && feature < featureCount && (values.isEmpty || values[feature].canBeCodes(of: names.count))
    }) {
      own = onlyMatch(values)
    }
    guard own.count == columns.count else {
      notes.append("names of \(columns.count) categorical columns are in the file, but not which features they belong to: send codes, not names")
      return []
    }
    let named = zip(own, columns).map { NamedColumn(feature: $0, names: $1) }
    return NamedColumn.usable(named, featureCount: featureCount, featureNames: featureNames, notes: &notes)
  }

  /// Each column's first feature, when it is its last one too: every match lies between these. Empty when there are none or several.
  private func onlyMatch(_ values: [FeatureValues]) -> [Int] {
    var first: [Int] = []
    var feature = 0
    for names in columns {
      while feature < values.count, !values[feature].canBeCodes(of: names.count) { feature += 1 }
      guard feature < values.count else { return [] }
      first.append(feature)
      feature += 1
    }
    feature = values.count - 1
    for (column, names) in columns.enumerated().reversed() {
      while feature >= 0, !values[feature].canBeCodes(of: names.count) { feature -= 1 }
      guard feature == first[column] else { return [] }
      feature -= 1
    }
    return first
  }

  private mutating func read(_ json: TextSlice) throws(ImportError) {
    var cursor = JSONCursor(json.bytes)
    guard try cursor.kind() == .array else { return }
    var all: [[CategoryName]] = []
    try cursor.array { (cursor, _) throws(ImportError) in
      var names: [CategoryName] = []
      try cursor.array { (cursor, _) throws(ImportError) in names.append(try cursor.categoryName()) }
      all.append(names)
    }
    columns = all
  }

  private static let parameter: StaticString = "[categorical_feature: "
  private static let names: StaticString = "pandas_categorical:"
}

/// What `feature_infos` says of a feature's values in training: "[0:1]" a range, "3:1:0:-1" categories (-1: missing), "none".
private struct FeatureValues {
  var isAny = false
  var range: ClosedRange<Double> = 0...0

  /// Whether codes of `count` categories can have been these values.
  func canBeCodes(of count: Int) -> Bool {
    isAny || (range.lowerBound >= 0 && range.upperBound < Double(count) && range.lowerBound == range.lowerBound.rounded()
      && range.upperBound == range.upperBound.rounded())
  }

  /// One for each feature; none when the file does not say.
  static func read(_ infos: TextSlice?, featureCount: Int) -> [FeatureValues] {
    var all: [FeatureValues] = []
    infos?.forEachWord { word in
      if word == "none" {
        all.append(FeatureValues(isAny: true))
        return
      }
      var low = Double.infinity
      var high = -Double.infinity
      var isReadable = true
      let isRange = word.bytes.first == UInt8(ascii: "[")
      for part in word.string.split(whereSeparator: { "[:]".contains($0) }) {
        let value = Double(part) ?? .nan
        // Missing values are listed among categories.
        if !isRange, value == -1 { continue }
        isReadable = isReadable && !value.isNaN
        low = min(low, value)
        high = max(high, value)
      }
      let isEmpty = high < low
      all.append(FeatureValues(isAny: isReadable && isEmpty, range: isReadable && !isEmpty ? low...high : -1...0))
    }
    return all.count == featureCount ? all : []
  }
}
