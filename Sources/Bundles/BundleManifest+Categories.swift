internal import Model

/// Names of categories, as inputs have them: `"categories": [{"column": 1, "names": ["AA", "B6"]}]`, the name at place c for code c. Names
/// are texts, numbers or booleans, as training's data frame had them.
extension BundleManifest {
  static func categories(
    _ json: JSONValue, _ element: TensorElement, _ count: Int, _ absent: Double?, _ place: String
  ) throws(BundleError) -> [ColumnCategories] {
    guard element.isFloating, absent?.isNaN == true else {
      throw BundleError(place: "\(place).categories", reason: "names are for inputs of FP32 or FP64 whose \"absent\" is \"nan\"")
    }
    var all: [ColumnCategories] = []
    for (index, value) in try json.array("categories", at: place).enumerated() {
      let own = "\(place).categories[\(index)]"
      let column = try value.int("column", in: 0...dimensionMax, at: own)
      guard column < count else { throw BundleError(place: "\(own).column", reason: "\(column) of \(count) columns") }
      if let last = all.last, column <= last.column {
        throw BundleError(place: "\(own).column", reason: "\(column) stands behind \(last.column): they must ascend")
      }
      all.append(ColumnCategories(column: column, names: try names(try value.array("names", at: own), "\(own).names")))
    }
    return all
  }

  private static func names(_ values: [JSONValue], _ place: String) throws(BundleError) -> CategoryNames {
    guard values.count <= CategoryNames.countMax else {
      throw BundleError(place: place, reason: "\(values.count) names, at most \(CategoryNames.countMax) are allowed")
    }
    var names: [CategoryName] = []
    names.reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      switch value {
      case .text(let text): names.append(.text(text))
      case .integer(let integer): names.append(.integer(integer))
      case .number(let number): names.append(.number(number))
      case .boolean(let boolean): names.append(.boolean(boolean))
      case .null, .array, .object: throw BundleError(place: "\(place)[\(index)]", reason: "expected a text, a number or a boolean, found \(value.kind)")
      }
    }
    do {
      return try CategoryNames(names)
    } catch {
      throw BundleError(place: error.index.map { "\(place)[\($0)]" } ?? place, reason: error.reason)
    }
  }

  /// Over all inputs.
  static func checkCategories(_ inputs: [InputTensor]) throws(BundleError) {
    let names = inputs.flatMap { $0.categories.map(\.names) }
    let count = names.reduce(0) { $0 + $1.names.count }
    let bytes = names.reduce(0) { $0 + $1.byteCount }
    guard count <= CategoryNames.countMax, bytes <= CategoryNames.bytesMax else {
      throw BundleError(
        place: "manifest.inputs",
        reason: "\(count) names of categories in \(bytes) bytes, at most \(CategoryNames.countMax) in \(CategoryNames.bytesMax) bytes are allowed")
    }
  }
}

extension JSONValue {
  init(_ name: CategoryName) {
    self = switch name {
    case .text(let text): .text(text)
    case .integer(let integer): .integer(integer)
    case .number(let number): .number(number)
    case .boolean(let boolean): .boolean(boolean)
    }
  }
}
