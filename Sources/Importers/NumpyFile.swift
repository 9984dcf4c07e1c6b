public import Model
internal import Foundation

/// An array as NumPy's `.npy` files hold it (format versions 1 to 3): little-endian, in C order, of one or more dimensions.
public struct NumpyFile: Sendable {
  public let element: TensorElement
  public let shape: [Int]
  /// `shape`'s product of elements, row-major.
  public let bytes: [UInt8]

  private static let headerBytesMax = 1 << 16

  /// Elements of one row: the product of all dimensions but the first.
  public var columns: Int { shape.dropFirst().reduce(1, *) }
  public var rows: Int { shape.first ?? 1 }

  public init(path: String) throws(ImportError) {
    guard let data = FileManager.default.contents(atPath: path) else { throw ImportError(place: path, reason: "cannot be read") }
    try self.init([UInt8](data), place: path)
  }

  /// `place` names the file in errors.
  public init(_ file: [UInt8], place: String) throws(ImportError) {
    func refuse(_ reason: String) -> ImportError { ImportError(place: place, reason: reason) }
    guard file.count >= 10, Array(file[0..<6]) == [0x93] + Array("NUMPY".utf8) else { throw refuse("is no .npy file: its first bytes are not NumPy's") }
    guard (1...3).contains(file[6]) else { throw refuse("is of format version \(file[6]); versions 1 to 3 are read") }
    let wide = file[6] > 1
    guard !wide || file.count >= 12 else { throw refuse("ends within its header") }
    let length = wide ? Int(file[8]) | Int(file[9]) << 8 | Int(file[10]) << 16 | Int(file[11]) << 24 : Int(file[8]) | Int(file[9]) << 8
    let start = wide ? 12 : 10
    guard length <= Self.headerBytesMax, start + length <= file.count else { throw refuse("ends within its header") }
    let header = String(decoding: file[start..<start + length], as: UTF8.self)

    guard let descr = header.firstMatch(of: #/'descr':\s*'([^']*)'/#) else { throw refuse("its header has no descr") }
    let elements: [Substring: TensorElement] = [
      "<f4": .float32, "<f8": .float64, "<i8": .int64, "<i4": .int32, "<i2": .int16, "|i1": .int8, "|u1": .uint8, "<u2": .uint16, "<u4": .uint32,
      "<u8": .uint64, "|b1": .boolean, "<f2": .float16,
    ]
    guard let element = elements[descr.1] else { throw refuse("its elements are \"\(descr.1.prefix(40))\": numbers in little-endian order are read") }
    guard header.contains(#/'fortran_order':\s*False/#) else { throw refuse("is in Fortran order: save numpy.ascontiguousarray(x)") }
    guard let list = header.firstMatch(of: #/'shape':\s*\(([0-9, ]*)\)/#) else { throw refuse("its header has no shape") }
    var shape: [Int] = []
    var count = 1
    for part in list.1.split(whereSeparator: { $0 == "," || $0 == " " }) {
      guard let size = Int(part) else { throw refuse("its shape has a size of \(part.prefix(40))") }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw refuse("its shape is too large") }
      shape.append(size)
      count = product
    }
    let (byteCount, overflow) = count.multipliedReportingOverflow(by: element.bytes)
    guard !overflow, byteCount == file.count - start - length else {
      throw refuse("holds \(file.count - start - length) bytes of elements; its shape \(shape) asks for \(overflow ? "more" : "\(byteCount)")")
    }
    self.element = element
    self.shape = shape
    bytes = Array(file[(start + length)...])
  }
}
