import CKernels
import NIOCore

@testable import EmbeddedBroker

/// Builds record batches (format 2) as clients do.
struct TestBatch {
  var values: [String]
  var producerID: Int64 = -1
  var epoch: Int16 = -1
  var sequence: Int32 = -1
  /// Of the first record; the others follow by a millisecond each.
  var timestamp: Int64 = 1_700_000_000_000
  var attributes: Int16 = 0

  init(_ values: [String], timestamp: Int64 = 1_700_000_000_000) {
    self.values = values
    self.timestamp = timestamp
  }

  init(producer: Int64, epoch: Int16 = 0, sequence: Int32, count: Int = 1) {
    values = (0..<count).map { "s\(Int(sequence) + $0)" }
    producerID = producer
    self.epoch = epoch
    self.sequence = sequence
  }

  static func varint(_ value: Int64, _ buffer: inout ByteBuffer) {
    var rest = UInt64(bitPattern: value << 1) ^ UInt64(bitPattern: value >> 63)
    while rest >= 0x80 {
      buffer.writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    buffer.writeInteger(UInt8(rest))
  }

  var bytes: [UInt8] {
    var records = ByteBuffer()
    for (index, value) in values.enumerated() {
      var record = ByteBuffer()
      record.writeInteger(Int8(0))
      Self.varint(Int64(index), &record)
      Self.varint(Int64(index), &record)
      Self.varint(-1, &record)
      Self.varint(Int64(value.utf8.count), &record)
      record.writeString(value)
      Self.varint(0, &record)
      Self.varint(Int64(record.readableBytes), &records)
      records.writeBuffer(&record)
    }
    var checked = ByteBuffer()
    checked.writeInteger(attributes)
    checked.writeInteger(Int32(values.count - 1))
    checked.writeInteger(timestamp)
    checked.writeInteger(timestamp + Int64(max(0, values.count - 1)))
    checked.writeInteger(producerID)
    checked.writeInteger(epoch)
    checked.writeInteger(sequence)
    checked.writeInteger(Int32(values.count))
    checked.writeBuffer(&records)
    var batch = ByteBuffer()
    batch.writeInteger(Int64(0))
    batch.writeInteger(Int32(checked.readableBytes + 9))
    batch.writeInteger(Int32(-1))
    batch.writeInteger(Int8(2))
    batch.writeInteger(checked.withUnsafeReadableBytes { mr_crc32c(0, $0.baseAddress, $0.count) })
    batch.writeBuffer(&checked)
    return Array(batch.readableBytesView)
  }

  struct Record: Equatable {
    let offset: Int64
    let value: String
  }

  /// Reads back the records of whole batches. Checks sizes and checksums on the way; nil when they are wrong.
  static func read(_ bytes: [UInt8]) -> [Record]? {
    var records: [Record] = []
    let isSound = bytes.withUnsafeBytes { all -> Bool in
      var position = 0
      while position < all.count {
        let rest = UnsafeRawBufferPointer(rebasing: all[position...])
        guard let header = RecordBatchHeader.intact(rest) else { return false }
        var cursor = RecordBatchHeader.byteCount
        func number() -> Int64 {
          var value: UInt64 = 0
          var shift: UInt64 = 0
          while true {
            let byte = rest[cursor]
            cursor += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { break }
            shift += 7
          }
          return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
        }
        for _ in 0..<header.recordCount {
          _ = number()
          cursor += 1
          _ = number()
          let offsetDelta = number()
          let keyLength = number()
          if keyLength > 0 { cursor += Int(keyLength) }
          let length = Int(number())
          let value = String(decoding: rest[cursor..<(cursor + length)], as: UTF8.self)
          cursor += length
          let headers = number()
          guard headers == 0 else { return false }
          records.append(Record(offset: header.baseOffset + offsetDelta, value: value))
        }
        position += header.totalBytes
      }
      return true
    }
    return isSound ? records : nil
  }
}
