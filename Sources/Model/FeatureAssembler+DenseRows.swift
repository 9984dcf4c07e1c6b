// Hot: no allocation, String, existential or Foundation between `begin` and `finish` once buffers have grown.

/// What stands in dense rows: see `DenseRow`.
extension FeatureAssembler {
  /// An element that is said not to be there, as a list may have: an element of a tensor takes its place; others are just not given.
  @discardableResult
  public func null(_ index: Int) -> Bool {
    guard let dense, slots[checked(index)].kind == .tensor else { return true }
    return note(dense.null(Int(slots[index].dense)), index)
  }

  /// Where feature (or column) `index` stands in dense rows, for whoever writes there straight from a request; nil when it does not.
  public func place(of index: Int) -> DensePlace? {
    guard let dense, slots[checked(index)].kind == .tensor else { return nil }
    let slot = dense.slots[Int(slots[index].dense)]
    return DensePlace(
      offset: slot.offset, count: Int(slot.count), element: slot.element, refusesNonFinite: slot.refusesNonFinite,
      feature: slot.parent < 0 ? index : feature(ofDense: Int(slot.parent)),
      lookups: slot.categories < 0 ? nil : UnsafePointer(dense.lookups + Int(slot.categories)), isColumn: slot.parent >= 0)
  }

  /// The names of the categories of column `index`; nil when it has none, or is no column. Not for hot paths.
  public func categories(of index: Int) -> CategoryNames? {
    var column = checked(index) - featureCount
    guard column >= 0 else { return nil }
    for case let place? in specification.features.map(\.tensor) {
      if column < place.columns.count { return place.categories.first { $0.column == column }?.names }
      column -= place.columns.count
    }
    return nil
  }

  /// Whether an event must give the feature (or column): by its own name or by that of its tensor.
  public func refusesAbsence(of index: Int) -> Bool {
    guard let dense, slots[checked(index)].dense >= 0 else { return false }
    return dense.slots[Int(slots[index].dense)].refusesAbsence
  }

  /// Bytes of a dense row, 0 when there is none, and a row of which nothing is given.
  public var denseRowBytes: Int { dense?.byteCount ?? 0 }
  public var denseTemplate: UnsafeRawPointer? { dense.map { UnsafeRawPointer($0.template) } }

  func feature(ofDense slot: Int) -> Int {
    for index in 0..<nameCount where Int(slots[index].dense) == slot { return index }
    return -1
  }

  /// The slots of a place in the dense row: its own, and one for each column.
  static func appendSlots(
    of place: TensorPlace, _ index: Int, _ slots: UnsafeMutablePointer<FeatureSlot>, _ denseSlots: inout [DenseRow.Slot],
    _ columnIndex: inout Int, _ lookupCount: inout Int
  ) {
    let own = denseSlots.count
    let categories = place.categories.isEmpty ? nil : lookupCount
    if categories != nil { lookupCount += place.count }
    slots[index].dense = Int32(own)
    denseSlots.append(.init(
      offset: place.offset, count: Int32(clamping: place.count), element: place.element, refusesNonFinite: place.refusesNonFinite,
      refusesAbsence: place.absent == .refused && place.columns.isEmpty, categories: Int32(clamping: categories ?? -1)))
    for column in place.columns.indices {
      var slot = slots[index]
      slot.dense = Int32(denseSlots.count)
      (slots + columnIndex).initialize(to: slot)
      columnIndex += 1
      denseSlots.append(.init(
        offset: place.offset + column * place.element.bytes, count: 1, parent: Int32(own), element: place.element,
        refusesNonFinite: place.refusesNonFinite, refusesAbsence: place.absent == .refused,
        categories: place.categories.contains { $0.column == column } ? Int32(clamping: (categories ?? 0) + column) : -1))
    }
  }

  func denseProblemText() -> String {
    let name = name(problemFeature)
    let slot = dense?.slots[Int(slots[problemFeature].dense)]
    let datatype = slot?.element.datatype ?? ""
    let count = Int(slot?.count ?? 1)
    let values = count == 1 ? "1 value" : "\(count) values"
    return switch problem {
    case .none: ""
    case .notFinite: "the value of \"\(name)\" is not a finite number, and the model takes no other"
    case .wrongType where categories(of: problemFeature) != nil: "\"\(name)\" takes names of categories, or their codes as numbers"
    case .wrongType: slot?.element == .text ? "\"\(name)\" takes texts" : "\"\(name)\" takes numbers (\(datatype))"
    case .notExact: "the value of \"\(name)\" is none that \(datatype) holds"
    case .tooManyValues: "\"\(name)\" has more than \(values)"
    case .tooFewValues: "\"\(name)\" has fewer than \(values)"
    case .absent: "\"\(name)\" is not given, and the model has nothing to put in its place"
    case .givenTwice: "\"\(name)\" is given, and so is the tensor that it is part of, or one of its columns"
    }
  }
}
