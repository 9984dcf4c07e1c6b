import Model

/// Names of one feature's categories, as another tool's file has them: the name at place `c` was code `c` in training.
struct NamedColumn: Equatable {
  var feature: Int
  var names: [CategoryName]

  /// For messages.
  func title(_ featureNames: [String]) -> String { feature < featureNames.count ? "\"\(featureNames[feature])\"" : "\(feature)" }

  /// What can be served. What cannot is left out with a note: such a feature takes codes.
  static func usable(_ columns: [NamedColumn], featureCount: Int, featureNames: [String], notes: inout [String]) -> [ColumnCategories] {
    var usable: [ColumnCategories] = []
    var count = 0
    var bytes = 0
    for column in columns.sorted(by: { $0.feature < $1.feature }) {
      func leftOut(_ why: String) { notes.append("names of categories of feature \(column.title(featureNames)) are left out: \(why): send codes") }
      guard column.feature < featureCount, usable.last?.column != column.feature else {
        leftOut("the model has \(featureCount) features, each once")
        continue
      }
      do {
        let names = try CategoryNames(column.names)
        guard count + names.names.count <= CategoryNames.countMax, bytes + names.byteCount <= CategoryNames.bytesMax else {
          leftOut("they are more than \(CategoryNames.countMax) with those before them, or longer than \(CategoryNames.bytesMax) bytes")
          continue
        }
        count += names.names.count
        bytes += names.byteCount
        usable.append(ColumnCategories(column: column.feature, names: names))
      } catch {
        leftOut("\(error.index.map { "name \($0): " } ?? "")\(error.reason)")
      }
    }
    return usable
  }
}
