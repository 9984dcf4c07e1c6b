/// Looks into an uncompressed batch for the record at a time. The only place where the broker reads records.
enum RecordTimes {
  /// The first record at or after `timestamp` whose offset is `minimum` or more; nil for compressed batches and for records that
  /// do not parse.
  static func firstRecord(
    in bytes: UnsafeRawBufferPointer, header: RecordBatchHeader, atOrAfter timestamp: Int64, from minimum: Int64
  ) -> (offset: Int64, timestamp: Int64)? {
    guard header.attributes & 0x07 == 0, bytes.count >= header.totalBytes, bytes.count >= 35 else { return nil }
    let baseTimestamp = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 27, as: Int64.self))
    let batch = UnsafeRawBufferPointer(rebasing: bytes[..<header.totalBytes])
    var position = RecordBatchHeader.byteCount
    for _ in 0..<header.recordCount {
      guard let length = varint(batch, &position), length >= 0, length <= Int64(batch.count - position) else { return nil }
      let end = position + Int(length)
      position += 1  // attributes
      guard let timeDelta = varint(batch, &position), let offsetDelta = varint(batch, &position), position <= end else { return nil }
      let time = baseTimestamp &+ timeDelta
      let offset = header.baseOffset &+ offsetDelta
      guard offset <= header.lastOffset, offset >= header.baseOffset else { return nil }
      if time >= timestamp, offset >= minimum { return (offset, time) }
      position = end
    }
    return nil
  }

  /// A zigzag LEB128 number of up to 64 bits; nil when it runs over the end.
  private static func varint(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> Int64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < bytes.count, shift < 64 {
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }
      shift += 7
    }
    return nil
  }
}
