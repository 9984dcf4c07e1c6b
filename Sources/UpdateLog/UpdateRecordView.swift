internal import CKernels

/// A record, read in place: valid as long as the bytes that it was parsed from. Every size was checked against every other, the
/// checksum holds and ids ascend; values of rows are as they came (the replica judges them).
public struct UpdateRecordView {
  typealias Layout = UpdateRecordLayout

  public let header: UpdateHeader
  /// Rows carry Int64 counts instead of gradient sums.
  public let hasCounts: Bool
  public let control: ControlPayload
  /// The record's bytes.
  public let bytes: UnsafeRawBufferPointer
  /// CRC-32C of everything before the trailer, as stored.
  public let checksum: UInt32
  let validationBytes: UnsafeRawBufferPointer?

  /// Reads `bytes` as exactly one record. Never traps, whatever they are.
  public static func parse(_ bytes: UnsafeRawBufferPointer) throws(UpdateRecordError) -> UpdateRecordView {
    let size = bytes.count
    guard size >= Layout.headerBytes + Layout.trailerBytes else {
      if size >= 4, bytes.loadUnaligned(as: UInt32.self) != Layout.magic.littleEndian { throw .notARecord }
      throw .truncated(neededBytes: Layout.headerBytes + Layout.trailerBytes, haveBytes: size)
    }
    func int<T: FixedWidthInteger & BitwiseCopyable>(_ at: Int, _: T.Type = T.self) -> T {
      T(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: T.self))
    }
    guard int(0) == Layout.magic else { throw .notARecord }
    let version: UInt8 = int(4)
    guard version == Layout.formatVersion else { throw .unknownFormat(version: version) }
    let stated = Int(int(8, UInt32.self))
    guard stated <= size else { throw .truncated(neededBytes: stated, haveBytes: size) }
    guard stated == size else { throw .field("size", "says \(stated), the record has \(size) bytes") }
    guard size <= Layout.recordBytesMax else { throw .field("size", "\(size) bytes, \(Layout.recordBytesMax) at most") }
    let stored: UInt32 = int(size - Layout.trailerBytes)
    let computed = mr_crc32c(0, bytes.baseAddress, size - Layout.trailerBytes)
    guard stored == computed else { throw .checksum(stored: stored, computed: computed) }
    let rawKind: UInt8 = int(5)
    guard let kind = UpdateKind(rawValue: rawKind) else { throw .unknownKind(rawKind) }
    let flags: UInt16 = int(6)
    guard flags & ~Layout.flagsKnown == 0 else { throw .field("flags", "unknown bits in \(flags)") }
    let rows = Int(int(120, UInt32.self))
    let tailBytes = Int(int(124, UInt32.self))
    // 64-bit sums of 32-bit numbers: no overflow.
    let needed = Layout.headerBytes + rows * Layout.bytesPerRow + tailBytes + Layout.trailerBytes
    guard needed == size else { throw .field("rows", "\(rows) rows and a tail of \(tailBytes) bytes take \(needed) bytes, the record has \(size)") }
    guard kind == .update || (rows == 0 && flags == 0) else { throw .field("rows", "\(rows) rows, flags \(flags) in a \(kind) record") }
    let examples: Int32 = int(36)
    guard examples >= 0 else { throw .field("examples", "\(examples)") }
    let header = UpdateHeader(
      kind: kind, specHash: int(16), epoch: int(12), sourcePartition: int(32), from: int(40),
      to: SourceProgress(offset: int(48), featuresTo: int(56), labelsTo: int(64), batch: int(72)), trainer: int(24),
      basis: (int(80), int(88)), eventTimeFromMilliseconds: int(96), eventTimeThroughMilliseconds: int(104),
      labelProducedNanoseconds: int(112), examples: examples, rowCount: Int32(rows))
    if kind == .update || kind == .skip {
      guard header.sourcePartition >= 0 else { throw .field("source", "partition \(header.sourcePartition)") }
      guard header.from >= 0, header.to.offset >= 0 else { throw .field("source", "offsets \(header.from) to \(header.to.offset)") }
    }
    guard let base = bytes.baseAddress else { throw .truncated(neededBytes: needed, haveBytes: 0) }
    let ascending = mr_ids_ascending(base + Layout.headerBytes, rows)
    guard ascending == rows else { throw .idsNotAscending(index: ascending) }
    let tailStart = Layout.headerBytes + rows * Layout.bytesPerRow
    let tail = UnsafeRawBufferPointer(rebasing: bytes[tailStart..<tailStart + tailBytes])
    var validation: UnsafeRawBufferPointer?
    if flags & Layout.flagValidation != 0 {
      try ValidationSample.check(tail)
      validation = tail
    } else if kind == .update || kind == .freeze || kind == .skip || kind == .beacon {
      guard tailBytes == 0 else { throw .field("tail", "\(tailBytes) bytes that a \(kind) record has no use for") }
    }
    let control = kind == .update ? ControlPayload.none : try ControlPayload.parse(kind: kind, tail)
    return UpdateRecordView(
      header: header, hasCounts: flags & Layout.flagCounts != 0, control: control, bytes: bytes, checksum: stored, validationBytes: validation)
  }

  public var rowCount: Int { Int(header.rowCount) }
  public var hasValidation: Bool { validationBytes != nil }

  /// Row ids, strictly ascending.
  public var ids: RecordColumn<UInt64> { column(Layout.headerBytes, rowCount) }
  /// Sums of gradients; empty in a record of counts.
  public var gradientSums: RecordColumn<Float> { column(Layout.headerBytes + 8 * rowCount, hasCounts ? 0 : rowCount) }
  /// Sums of squared gradients; empty in a record of counts.
  public var squareSums: RecordColumn<Float> { column(Layout.headerBytes + 12 * rowCount, hasCounts ? 0 : rowCount) }
  /// Counts; empty in a record of gradients.
  public var counts: RecordColumn<Int64> { column(Layout.headerBytes + 8 * rowCount, hasCounts ? rowCount : 0) }

  private func column<T: BitwiseCopyable>(_ start: Int, _ count: Int) -> RecordColumn<T> {
    RecordColumn(bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count * MemoryLayout<T>.size]), count: count)
  }

  /// CRC-32C of all of a record's bytes, valid record or not: what `ShardReplica.lastRecordCRC` is.
  public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { mr_crc32c(0, bytes.baseAddress, bytes.count) }

  /// The same, from the checksum that parsing verified.
  var wholeChecksum: UInt32 { mr_crc32c(checksum, bytes.baseAddress.map { $0 + (bytes.count - Layout.trailerBytes) }, Layout.trailerBytes) }

  /// The validation section; nil when there is none.
  public var validation: ValidationSample? { validationBytes.map { ValidationSample(checked: $0) } }
}

/// A column of a record, read in place at any alignment. Records are little-endian, and so is every machine this runs on.
public struct RecordColumn<Element: BitwiseCopyable> {
  let bytes: UnsafeRawBufferPointer
  public let count: Int

  public subscript(_ index: Int) -> Element {
    precondition(index >= 0 && index < count, "row \(index) of \(count)")
    return bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Element>.size, as: Element.self)
  }

  func copy(to destination: UnsafeMutablePointer<Element>) {
    if let base = bytes.baseAddress { UnsafeMutableRawPointer(destination).copyMemory(from: base, byteCount: count * MemoryLayout<Element>.size) }
  }
}
