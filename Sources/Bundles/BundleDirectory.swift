internal import Model

/// The list of sections, as bytes.
enum BundleDirectory {
  static func encode(_ sections: [BundleSection]) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: sections.count * BundleFormat.entryBytes)
    var nameStart = 0
    out.withUnsafeMutableBytes { out in
      for (index, section) in sections.enumerated() {
        let at = index * BundleFormat.entryBytes
        let nameBytes = section.name.utf8.count
        out.storeBytes(of: UInt64(section.offset).littleEndian, toByteOffset: at, as: UInt64.self)
        out.storeBytes(of: UInt64(section.byteCount).littleEndian, toByteOffset: at + 8, as: UInt64.self)
        out.storeBytes(of: section.checksum.littleEndian, toByteOffset: at + 16, as: UInt32.self)
        out.storeBytes(of: UInt32(nameStart).littleEndian, toByteOffset: at + 20, as: UInt32.self)
        out.storeBytes(of: UInt16(nameBytes).littleEndian, toByteOffset: at + 24, as: UInt16.self)
        out.storeBytes(of: section.element.rawValue, toByteOffset: at + 26, as: UInt8.self)
        out.storeBytes(of: UInt8(section.shape.count), toByteOffset: at + 27, as: UInt8.self)
        for (axis, dimension) in section.shape.enumerated() {
          out.storeBytes(of: UInt64(dimension).littleEndian, toByteOffset: at + 32 + axis * 8, as: UInt64.self)
        }
        nameStart += nameBytes
      }
    }
    for section in sections { out.append(contentsOf: section.name.utf8) }
    return out
  }

  /// Reads and checks all entries: `bytes` is the directory with its names, `offset` where it stands, `fileBytes` what the file has.
  static func decode(_ bytes: UnsafeRawBufferPointer, count: Int, offset: Int, fileBytes: Int) throws(BundleError) -> [BundleSection] {
    let names = UnsafeRawBufferPointer(rebasing: bytes[(count * BundleFormat.entryBytes)...])
    var sections: [BundleSection] = []
    sections.reserveCapacity(count)
    var seen: Set<String> = []
    var end = offset + bytes.count
    var nameEnd = 0
    for index in 0..<count {
      let entry = UnsafeRawBufferPointer(rebasing: bytes[(index * BundleFormat.entryBytes)...].prefix(BundleFormat.entryBytes))
      let section = try Self.section(entry, index: index, names: names, nameStart: nameEnd)
      nameEnd += section.name.utf8.count
      let place = "section \"\(section.name)\""
      guard seen.insert(section.name).inserted else { throw BundleError(place: place, reason: "there twice") }
      guard section.offset % BundleFormat.alignment(ofBytes: section.byteCount) == 0 else {
        throw BundleError(place: place, reason: "begins at byte \(section.offset), which is no multiple of \(BundleFormat.alignment(ofBytes: section.byteCount))")
      }
      guard section.offset >= end else {
        throw BundleError(place: place, reason: "begins at byte \(section.offset), within what stands before it, which ends at \(end)")
      }
      guard section.byteCount <= fileBytes, section.offset <= fileBytes - section.byteCount else {
        throw BundleError(
          place: place, reason: "\(section.byteCount) bytes from byte \(section.offset) on do not lie within the file's \(fileBytes)")
      }
      end = section.offset + section.byteCount
      sections.append(section)
    }
    guard nameEnd == names.count else { throw BundleError(place: "directory", reason: "\(names.count) bytes of names, of which the sections use \(nameEnd)") }
    guard end == fileBytes else { throw BundleError(place: "directory", reason: "the last part ends at byte \(end) of \(fileBytes)") }
    return sections
  }

  private static func section(
    _ entry: UnsafeRawBufferPointer, index: Int, names: UnsafeRawBufferPointer, nameStart: Int
  ) throws(BundleError) -> BundleSection {
    let place = "directory, section \(index)"
    func word64(_ offset: Int) -> UInt64 { UInt64(littleEndian: entry.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    func word32(_ offset: Int) -> UInt32 { UInt32(littleEndian: entry.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    let nameBytes = Int(UInt16(littleEndian: entry.loadUnaligned(fromByteOffset: 24, as: UInt16.self)))
    guard Int(word32(20)) == nameStart, nameBytes >= 1, nameBytes <= BundleFormat.nameBytesMax, nameStart + nameBytes <= names.count else {
      throw BundleError(place: place, reason: "its name is not where it should be")
    }
    guard let name = String(validating: names[nameStart..<(nameStart + nameBytes)], as: UTF8.self) else {
      throw BundleError(place: place, reason: "its name is not valid UTF-8")
    }
    guard let element = TensorElement(rawValue: entry[26]) else {
      throw BundleError(place: "section \"\(name)\"", reason: "its elements are of kind \(entry[26]), which this build does not know: update millrace")
    }
    let rank = Int(entry[27])
    guard rank <= BundleFormat.rankMax, word32(28) == 0 else { throw BundleError(place: "section \"\(name)\"", reason: "\(rank) dimensions") }
    var shape: [Int] = []
    for axis in 0..<BundleFormat.rankMax {
      let dimension = word64(32 + axis * 8)
      guard dimension <= UInt64(BundleFormat.fileBytesMax), axis < rank || dimension == 0 else {
        throw BundleError(place: "section \"\(name)\"", reason: "dimension \(axis) of \(rank) is \(dimension)")
      }
      if axis < rank { shape.append(Int(dimension)) }
    }
    let bytes = word64(8)
    guard let expected = BundleFormat.byteCount(element, shape), UInt64(expected) == bytes else {
      throw BundleError(place: "section \"\(name)\"", reason: "\(bytes) bytes, which is not what \(element.datatype) \(shape) takes")
    }
    let offset = word64(0)
    guard offset <= UInt64(BundleFormat.fileBytesMax), expected <= BundleFormat.fileBytesMax else {
      throw BundleError(place: "section \"\(name)\"", reason: "\(bytes) bytes from byte \(offset) on are more than a file can have")
    }
    return BundleSection(name: name, element: element, shape: shape, offset: Int(offset), byteCount: expected, checksum: word32(16))
  }
}
