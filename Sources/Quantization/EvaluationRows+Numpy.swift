internal import Families
internal import Importers
internal import Model

extension EvaluationRows {
  /// A matrix [rows, elements of all inputs in their order], with the label among the columns or not.
  func append(numpy path: String, label: String?, rowsMax: Int) throws(EvaluationError) {
    let file: NumpyFile
    do throws(ImportError) { file = try NumpyFile(path: path) } catch { throw EvaluationError(place: error.place, reason: error.reason) }
    guard file.shape.count == 2 else { throw EvaluationError(place: path, reason: "has the shape \(file.shape), expected [rows, columns]") }
    let columns = file.columns
    var labelColumn: Int?
    if let label {
      guard let number = Int(label), number >= -columns, number < columns else {
        throw EvaluationError(place: path, reason: "the label is column \"\(label)\", expected a number below \(columns)")
      }
      labelColumn = number < 0 ? columns + number : number
    }
    let takes = model.inputs.reduce(0) { $0 + $1.count }
    guard model.specification == nil, takes == columns - (labelColumn == nil ? 0 : 1) else {
      throw EvaluationError(
        place: path,
        reason: model.specification == nil
          ? "rows of \(columns - (labelColumn == nil ? 0 : 1)) numbers, the model takes \(takes)" : "the model takes named features: give CSV or events")
    }
    for row in 0..<min(file.rows, rowsMax) {
      let dense = room().reserveDenseRow()
      var column = 0
      for input in model.inputs {
        for place in 0..<input.count {
          if column == labelColumn { column += 1 }
          let number = file.number(row * columns + column)
          guard Self.store(number, input.element, dense + input.offset + place * input.element.bytes) else {
            throw EvaluationError(place: "\(path), row \(row)", reason: "\(number) in column \(column) is none that \(input.element.datatype) holds")
          }
          column += 1
        }
      }
      room().endRow()
      try added(1, label: labelColumn.map { file.number(row * columns + $0) }, at: "\(path), row \(row)")
    }
  }

  private static func store(_ number: Double, _ element: TensorElement, _ at: UnsafeMutableRawPointer) -> Bool {
    func whole<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> Bool {
      guard let value = T(exactly: number) else { return false }
      at.storeBytes(of: value, as: T.self)
      return true
    }
    switch element {
    case .float32: at.storeBytes(of: Float(number), as: Float.self)
    case .float64: at.storeBytes(of: number, as: Double.self)
    case .int64: return whole(Int64.self)
    case .int32: return whole(Int32.self)
    case .int16: return whole(Int16.self)
    case .int8: return whole(Int8.self)
    case .uint8: return whole(UInt8.self)
    case .uint16: return whole(UInt16.self)
    case .uint32: return whole(UInt32.self)
    case .uint64: return whole(UInt64.self)
    case .boolean: at.storeBytes(of: number == 0 ? 0 : 1, as: UInt8.self)
    case .text, .bfloat16, .float16: return false
    }
    return true
  }
}

extension NumpyFile {
  /// Element `place`, counted row by row, as a double.
  func number(_ place: Int) -> Double {
    bytes.withUnsafeBytes { bytes in
      let at = place * element.bytes
      func load<T: BitwiseCopyable>(_: T.Type) -> T { bytes.loadUnaligned(fromByteOffset: at, as: T.self) }
      return switch element {
      case .float32: Double(load(Float.self))
      case .float64: load(Double.self)
      case .int64: Double(load(Int64.self))
      case .int32: Double(load(Int32.self))
      case .int16: Double(load(Int16.self))
      case .int8: Double(load(Int8.self))
      case .uint8, .boolean: Double(load(UInt8.self))
      case .uint16: Double(load(UInt16.self))
      case .uint32: Double(load(UInt32.self))
      case .uint64: Double(load(UInt64.self))
      // What NumPy has no such elements for.
      case .float16, .bfloat16, .text: .nan
      }
    }
  }
}
