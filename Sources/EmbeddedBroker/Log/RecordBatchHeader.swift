// Hot: read once per produced batch and per batch walked over in a fetch. No allocation.
import CKernels

/// The fixed head of a record batch, format 2 (magic 2). The records behind it stay opaque.
///
/// Base offset and leader epoch are outside of the checksum, so the broker writes them in place without touching the
/// rest.
struct RecordBatchHeader {
  /// Bytes of the whole head.
  static let byteCount = 61
  /// Base offset and length: what `batchLength` does not count.
  static let overheadBytes = 12
  /// The part that the broker overwrites: base offset, length, leader epoch.
  static let patchedBytes = 16
  /// Where the checksummed part begins.
  static let checksummedFrom = 21

  var baseOffset: Int64
  var batchLength: Int32
  var magic: Int8
  var checksum: UInt32
  var attributes: Int16
  var lastOffsetDelta: Int32
  var maxTimestamp: Int64
  var producerID: Int64
  var producerEpoch: Int16
  var baseSequence: Int32
  var recordCount: Int32

  /// `bytes` must hold `byteCount` bytes.
  init(_ bytes: UnsafeRawPointer) {
    func load<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
      T(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
    baseOffset = load(0, Int64.self)
    batchLength = load(8, Int32.self)
    magic = load(16, Int8.self)
    checksum = load(17, UInt32.self)
    attributes = load(21, Int16.self)
    lastOffsetDelta = load(23, Int32.self)
    maxTimestamp = load(35, Int64.self)
    producerID = load(43, Int64.self)
    producerEpoch = load(51, Int16.self)
    baseSequence = load(53, Int32.self)
    recordCount = load(57, Int32.self)
  }

  /// Bytes from the base offset to the last record.
  var totalBytes: Int { Int(batchLength) + Self.overheadBytes }
  /// The offset after the last record. Wraps on hostile input, which `isPlausible` has ruled out.
  var nextOffset: Int64 { baseOffset &+ Int64(lastOffsetDelta) &+ 1 }
  var lastOffset: Int64 { baseOffset &+ Int64(lastOffsetDelta) }
  var isTransactional: Bool { attributes & 0x10 != 0 }
  var isControl: Bool { attributes & 0x20 != 0 }
  var hasProducer: Bool { producerID >= 0 }

  /// Whether sizes and counts make sense at all: enough to walk over the batch.
  var isPlausible: Bool {
    magic == 2 && Int(batchLength) >= Self.byteCount - Self.overheadBytes && lastOffsetDelta >= 0 && baseOffset >= 0
      && baseOffset <= Int64.max - Int64(Int32.max) - 1
  }

  /// A whole, intact batch at the start of `bytes`; nil when it is torn or not one.
  static func intact(_ bytes: UnsafeRawBufferPointer) -> RecordBatchHeader? {
    guard bytes.count >= byteCount, let base = bytes.baseAddress else { return nil }
    let header = RecordBatchHeader(base)
    guard header.isPlausible, header.totalBytes <= bytes.count else { return nil }
    guard header.computedChecksum(base) == header.checksum else { return nil }
    return header
  }

  /// CRC-32C over everything behind the checksum. The batch must be whole.
  func computedChecksum(_ base: UnsafeRawPointer) -> UInt32 {
    mr_crc32c(0, base + Self.checksummedFrom, totalBytes - Self.checksummedFrom)
  }

  /// What a produced batch is refused for.
  struct Refusal: Error, Equatable {
    let code: ErrorCode
    let message: String
  }

  /// Checks a produced batch: exactly one, whole, intact, with a plausible head.
  static func validate(_ bytes: UnsafeRawBufferPointer, bytesMax: Int) -> Result<RecordBatchHeader, Refusal> {
    func refuse(_ code: ErrorCode, _ message: String) -> Result<RecordBatchHeader, Refusal> {
      .failure(Refusal(code: code, message: message))
    }
    guard bytes.count >= byteCount, let base = bytes.baseAddress else {
      // Format 0 and 1 message sets have their magic byte at the same place.
      if bytes.count > 16, bytes[16] < 2 {
        return refuse(.unsupportedForMessageFormat, "message format \(bytes[16]) is not supported: record batches (format 2) only")
      }
      return refuse(.corruptMessage, "a record batch takes at least \(byteCount) bytes, got \(bytes.count)")
    }
    let header = RecordBatchHeader(base)
    guard header.magic == 2 else {
      return header.magic == 0 || header.magic == 1
        ? refuse(.unsupportedForMessageFormat, "message format \(header.magic) is not supported: record batches (format 2) only")
        : refuse(.corruptMessage, "unknown message format \(header.magic)")
    }
    guard Int(header.batchLength) >= byteCount - overheadBytes, header.totalBytes <= bytes.count else {
      return refuse(.corruptMessage, "batch length \(header.batchLength) does not fit \(bytes.count) bytes")
    }
    guard header.totalBytes == bytes.count else {
      return refuse(.invalidRecord, "exactly one record batch for each partition, got \(bytes.count - header.totalBytes) bytes more")
    }
    guard bytes.count <= bytesMax else {
      return refuse(.messageTooLarge, "the batch takes \(bytes.count) bytes, max.message.bytes is \(bytesMax)")
    }
    guard header.computedChecksum(base) == header.checksum else {
      return refuse(.corruptMessage, "checksum mismatch")
    }
    guard header.recordCount >= 1, header.lastOffsetDelta == header.recordCount - 1 else {
      return refuse(
        .invalidRecord, "\(header.recordCount) records do not agree with a last offset delta of \(header.lastOffsetDelta)")
    }
    guard !header.isControl, !header.isTransactional else {
      return refuse(.invalidRecord, "transactions are not supported by the embedded broker")
    }
    if header.hasProducer, header.producerEpoch < 0 || header.baseSequence < 0 {
      return refuse(.invalidRecord, "an idempotent batch needs an epoch and a sequence")
    }
    return .success(header)
  }
}
