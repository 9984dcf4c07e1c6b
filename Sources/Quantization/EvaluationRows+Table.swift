internal import Events
internal import Families
internal import Foundation
internal import Model

extension EvaluationRows {
  /// What a file of data is.
  public enum Form: String, Sendable, CaseIterable { case csv, jsonl, npy }

  /// By the ending of the name: `.npy`, `.csv`; anything else is JSON lines.
  public static func form(of path: String) -> Form {
    path.hasSuffix(".npy") ? .npy : path.hasSuffix(".csv") ? .csv : .jsonl
  }

  /// Reads a file.
  /// - Parameters:
  ///   - label: of CSV the column with labels; of NumPy its number, counted from the end when negative; of events nothing, they carry theirs.
  ///   - rowsMax: reading ends after so many rows.
  public func append(path: String, label: String?, rowsMax: Int = EvaluationRows.rowsMax) throws(EvaluationError) {
    switch Self.form(of: path) {
    case .npy: try append(numpy: path, label: label, rowsMax: rowsMax)
    case .csv: try append(csv: try Self.lines(path), path: path, label: label, rowsMax: rowsMax)
    case .jsonl: try append(events: try Self.lines(path), path: path, rowsMax: rowsMax)
    }
  }

  private static func lines(_ path: String) throws(EvaluationError) -> TableLines {
    do {
      return TableLines(try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe))
    } catch {
      throw EvaluationError(place: path, reason: "cannot be read")
    }
  }

  private func append(events lines: TableLines, path: String, rowsMax: Int) throws(EvaluationError) {
    var lines = lines
    while rowCount < rowsMax, let line = lines.next() {
      if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { continue }
      let place = "\(path):\(lines.number)"
      let result = Array(line).withUnsafeBytes { bytes in Result { () throws(EvaluationError) in try append(event: bytes, place: place) } }
      try result.get()
    }
  }

  private func append(csv lines: TableLines, path: String, label: String?, rowsMax: Int) throws(EvaluationError) {
    var lines = lines
    guard let first = lines.nextRow(), let header = CSVTable.fields(first) else {
      throw EvaluationError(place: "\(path):1", reason: "expected a header with the names of the columns")
    }
    let columns = try Columns(header: header, rows: self, label: label, place: "\(path):1")
    while rowCount < rowsMax, let row = lines.nextRow() {
      if row.isEmpty, header.count > 1 { continue }
      let place = "\(path):\(lines.number)"
      guard let fields = CSVTable.fields(row) else { throw EvaluationError(place: place, reason: "the row's quotes do not match") }
      guard fields.count == header.count else {
        throw EvaluationError(place: place, reason: "the row has \(fields.count) fields, the header \(header.count)")
      }
      try append(fields, columns, place: place)
    }
  }

  /// Which column gives what.
  private struct Columns {
    /// The index of the assembler's name; -1: nothing of the model.
    var features: [Int]
    /// Of the columns whose categories have names: these, and whether some name is written like a number.
    var categories: [(names: CategoryNames, hasNumberTexts: Bool)?]
    var label: Int?
    var names: [String]
    /// The model's one tensor, its elements in the order of the columns: when its elements have no names, and there are as many columns.
    var isByPosition = false

    init(header: [String], rows: EvaluationRows, label: String?, place: String) throws(EvaluationError) {
      names = header
      for (index, name) in header.enumerated() where header[..<index].contains(name) {
        throw EvaluationError(place: place, reason: "two columns have the name \"\(name)\"")
      }
      if let label {
        guard let index = header.firstIndex(of: label) else { throw EvaluationError(place: place, reason: "there is no column \"\(label)\" for labels") }
        self.label = index
      }
      let assembler = rows.assembler
      features = header.map { name in Array(name.utf8).withUnsafeBytes { assembler.index(ofName: $0) } }
      if let index = self.label { features[index] = -1 }
      categories = features.map { feature in
        guard feature >= 0, let names = assembler.categories(of: feature) else { return nil }
        return (names, names.names.contains { if case .text(let text) = $0 { Double(text) != nil } else { false } })
      }
      let given = header.count - (self.label == nil ? 0 : 1)
      let inputs = rows.model.inputs
      let isWhole = inputs.count == 1 && inputs[0].count == given && assembler.nameCount == 1
      if features.allSatisfy({ $0 < 0 }), isWhole {
        isByPosition = true
        features = header.indices.map { $0 == self.label ? -1 : 0 }
        categories = header.map { _ in nil }
      }
      guard features.contains(where: { $0 >= 0 }) else {
        throw EvaluationError(
          place: place, reason: "none of its columns is the model's: that takes \(rows.names.prefix(20).joined(separator: ", "))\(rows.names.count > 20 ? ", …" : "")")
      }
    }
  }

  private func append(_ fields: [String], _ columns: Columns, place: String) throws(EvaluationError) {
    var label: Double?
    if let index = columns.label {
      guard let number = Double(fields[index]), number.isFinite else {
        throw EvaluationError(place: place, reason: "the label is \"\(fields[index].prefix(40))\", expected a number")
      }
      label = number
    }
    assembler.begin()
    for (index, feature) in columns.features.enumerated() where feature >= 0 {
      guard try give(fields[index], to: feature, columns, index, place: place) else {
        throw EvaluationError(place: place, reason: assembler.problemText())
      }
    }
    try finishRow(label: label, at: place)
  }

  private func give(_ field: String, to feature: Int, _ columns: Columns, _ index: Int, place: String) throws(EvaluationError) -> Bool {
    if field.isEmpty { return columns.isByPosition ? assembler.null(feature) : true }
    var text = field
    // A table does not tell texts from numbers. A field that is no name may be a number in another form, or a code where names are no numbers.
    let isName = columns.categories[index].map { $0.names.code(field) != nil || $0.hasNumberTexts || Double(field) == nil } ?? false
    let isText = isName || assembler.kind(of: feature) == .categorical || assembler.place(of: feature)?.element == .text
    if isText { return text.withUTF8 { assembler.categorical(feature, UnsafeRawBufferPointer($0)) } }
    if let integer = Int64(field) { return assembler.integer(feature, integer) }
    if field == "true" || field == "false" { return assembler.numeric(feature, field == "true" ? 1 : 0) }
    guard let number = Double(field) else {
      throw EvaluationError(place: place, reason: "column \"\(columns.names[index])\" is \"\(field.prefix(40))\", expected a number")
    }
    return assembler.numeric(feature, number)
  }
}

/// Lines of a file in memory, with their numbers.
struct TableLines {
  private let data: Data
  private var at: Int
  /// Of the line read last; the first is 1.
  private(set) var number = 0

  init(_ data: Data) {
    self.data = data
    at = data.startIndex
    // A byte order mark is no part of the first name.
    if data.starts(with: [0xEF, 0xBB, 0xBF]) { at += 3 }
  }

  /// The next line without its end; nil after the last.
  mutating func next() -> Data? {
    guard at < data.endIndex else { return nil }
    number += 1
    let end = data[at...].firstIndex(of: 0x0A) ?? data.endIndex
    var line = data[at..<end]
    at = end + 1
    if line.last == 0x0D { line = line.dropLast() }
    return line
  }

  /// The next row of a table: lines joined while quotes are open.
  mutating func nextRow() -> String? {
    guard let line = next() else { return nil }
    var row = String(decoding: line, as: UTF8.self)
    while CSVTable.isOpen(row), let more = next() { row += "\n" + String(decoding: more, as: UTF8.self) }
    return row
  }
}
