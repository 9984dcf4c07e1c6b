/// What is checked and written about features that stand in dense rows.
extension ModelSpecification {
  func checkTensors(_ check: (Bool, String, @autoclosure () -> String) -> Void) {
    var taken: [(range: Range<Int>, name: String)] = []
    var names = Set(features.map(\.name))
    var columns = 0
    var categories = (names: 0, bytes: 0)
    for feature in features {
      let path = "features.\(feature.name)"
      guard let place = feature.tensor else {
        check(feature.kind != .tensor, path, "is a tensor without a place in the dense row")
        continue
      }
      check(family == .loaded, path, "stands in a dense row, which only models from files have")
      check(feature.kind == .tensor || feature.kind == .numeric, path, "stands in a dense row, and is neither a tensor nor numeric")
      if feature.kind == .numeric {
        check(
          place.element == .float32 && place.count == 1 && place.columns.isEmpty && feature.transform.buckets.isEmpty, path,
          "is numeric: it takes one FP32 element of the dense row and no buckets")
      }
      check(place.element.isInputElement, path, "has elements of \(place.element.datatype), which inputs cannot have")
      check(place.shape.allSatisfy { $0 > 0 } && place.count >= 1, path, "has the shape \(place.shapeText), expected sizes of at least 1")
      check(
        place.offset >= 0 && place.offset % place.element.bytes == 0, path,
        "begins at byte \(place.offset) of the row, expected a multiple of \(place.element.bytes)")
      check(place.end <= Self.denseRowBytesMax, path, "ends at byte \(place.end) of the row, rows have at most \(Self.denseRowBytesMax)")
      check(
        place.columns.isEmpty || place.columns.count == place.count, path,
        "has \(place.columns.count) names of columns for \(place.count) elements")
      if case .value(let value) = place.absent {
        check(value.isFinite && place.element.holds(value), path, "has \(value) for what is absent, which \(place.element.datatype) does not hold")
      }
      if place.absent == .nan { check(place.element.isFloating, path, "has NaN for what is absent, which \(place.element.datatype) does not hold") }
      columns = columns.addingClamped(place.columns.count)
      for column in place.columns {
        check(
          !column.isEmpty && column.utf8.count <= Self.featureNameBytesMax, path,
          "has a column whose name does not have 1 to \(Self.featureNameBytesMax) bytes")
        check(names.insert(column).inserted, path, "has a column \"\(column)\", and that name is taken")
      }
      check(
        place.categories.isEmpty || (feature.kind == .tensor && place.element.isFloating && place.absent == .nan), "\(path).categories",
        "are names for a tensor of floating-point numbers with NaN for what is absent")
      for (index, column) in place.categories.enumerated() {
        check(
          column.column >= 0 && column.column < place.count && (index == 0 || column.column > place.categories[index - 1].column),
          "\(path).categories", "are for element \(column.column), expected elements below \(place.count) in ascending order")
        categories.names = categories.names.addingClamped(column.names.names.count)
        categories.bytes = categories.bytes.addingClamped(column.names.byteCount)
      }
      guard place.offset >= 0, place.end <= Self.denseRowBytesMax, place.end > place.offset else { continue }
      taken.append((place.offset..<place.end, feature.name))
    }
    check(columns <= Self.columnsMax, "features", "have \(columns) columns, at most \(Self.columnsMax) are allowed")
    check(
      categories.names <= CategoryNames.countMax, "features", "have \(categories.names) names of categories, at most \(CategoryNames.countMax) are allowed")
    check(
      categories.bytes <= CategoryNames.bytesMax, "features",
      "have names of categories of \(categories.bytes) bytes, at most \(CategoryNames.bytesMax) are allowed")
    taken.sort { $0.range.lowerBound < $1.range.lowerBound }
    for (a, b) in zip(taken, taken.dropFirst()) {
      check(a.range.upperBound <= b.range.lowerBound, "features.\(b.name)", "overlaps \"\(a.name)\" in the dense row")
    }
  }
}

extension TensorElement {
  /// Whether `value` is one of this type's, exactly for whole numbers, rounded for the others. Texts have no values.
  func holds(_ value: Double) -> Bool {
    switch self {
    case .float32: Float(value).isFinite || !value.isFinite
    case .float64: true
    case .int64: Int64(exactly: value) != nil
    case .int32: Int32(exactly: value) != nil
    case .int16: Int16(exactly: value) != nil
    case .int8: Int8(exactly: value) != nil
    case .uint64: UInt64(exactly: value) != nil
    case .uint32: UInt32(exactly: value) != nil
    case .uint16: UInt16(exactly: value) != nil
    case .uint8: UInt8(exactly: value) != nil
    case .boolean: value == 0 || value == 1
    case .text, .bfloat16, .float16: false
    }
  }
}

extension CanonicalWriter {
  mutating func place(_ place: TensorPlace?) {
    flag(place != nil)
    guard let place else { return }
    integer(place.element.rawValue)
    integer(UInt32(place.shape.count))
    for size in place.shape { integer(Int64(size)) }
    integer(Int64(place.offset))
    integer(UInt32(place.columns.count))
    for column in place.columns { text(column) }
    switch place.absent {
    case .refused: integer(UInt8(0))
    case .nan: integer(UInt8(1))
    case .value(let value):
      integer(UInt8(2))
      number(value)
    }
    flag(place.refusesNonFinite)
    integer(UInt32(place.categories.count))
    for column in place.categories {
      integer(Int64(column.column))
      integer(UInt32(column.names.names.count))
      for name in column.names.names { category(name) }
    }
  }

  private mutating func category(_ name: CategoryName) {
    switch name {
    case .text(let value):
      integer(UInt8(0))
      text(value)
    case .integer(let value):
      integer(UInt8(1))
      integer(value)
    case .number(let value):
      integer(UInt8(2))
      number(value)
    case .boolean(let value):
      integer(UInt8(3))
      flag(value)
    }
  }
}

extension CanonicalReader {
  private static let sizesMax = 64

  mutating func place(_ path: String) throws(SpecificationProblem) -> TensorPlace? {
    guard try flag(path) else { return nil }
    let element: TensorElement = try raw(path)
    var shape: [Int] = []
    for _ in 0..<(try count(path, max: Self.sizesMax)) { shape.append(try int(path)) }
    let offset = try int(path)
    var columns: [String] = []
    for _ in 0..<(try count(path, max: ModelSpecification.columnsMax)) {
      columns.append(try text(path, max: ModelSpecification.featureNameBytesMax))
    }
    let absent: TensorPlace.Absence
    switch try integer(path) as UInt8 {
    case 0: absent = .refused
    case 1: absent = .nan
    case 2: absent = .value(try number(path))
    case let other: throw SpecificationProblem(path: path, message: "has an unknown kind of absence, \(other)")
    }
    let refusesNonFinite = try flag(path)
    var categories: [ColumnCategories] = []
    for _ in 0..<(try count(path, max: ModelSpecification.columnsMax)) { categories.append(try column("\(path).categories")) }
    return TensorPlace(
      element: element, shape: shape, offset: offset, columns: columns, absent: absent, refusesNonFinite: refusesNonFinite,
      categories: categories)
  }

  private mutating func column(_ path: String) throws(SpecificationProblem) -> ColumnCategories {
    let column = try int(path)
    var names: [CategoryName] = []
    for _ in 0..<(try count(path, max: CategoryNames.countMax)) { names.append(try category(path)) }
    do {
      return ColumnCategories(column: column, names: try CategoryNames(names))
    } catch {
      throw SpecificationProblem(path: path, message: "element \(column)\(error.index.map { ", name \($0)" } ?? ""): \(error.reason)")
    }
  }

  private mutating func category(_ path: String) throws(SpecificationProblem) -> CategoryName {
    switch try integer(path) as UInt8 {
    case 0: .text(try text(path, max: CategoryNames.nameBytesMax))
    case 1: .integer(try integer(path))
    case 2: .number(try number(path))
    case 3: .boolean(try flag(path))
    case let other: throw SpecificationProblem(path: path, message: "has a name of an unknown kind, \(other)")
    }
  }
}
