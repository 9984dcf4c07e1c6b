internal import CKernels
internal import Kernels
internal import Model

/// One shard's file in a checkpoint.
///
/// A file is a run of blocks, each `MRCB`, kind (UInt32), payload size (UInt32), CRC-32C of kind, size and payload (UInt32), payload:
/// first one block of state, then blocks of rows (28 bytes each: id, z, n, touched, count; weights follow from z and n), last one block
/// with the number of rows and the CRC-32C of all block checksums in order.
struct ShardCheckpoint {
  static let formatVersion: UInt32 = 1
  static let magic: UInt32 = 0x4243_524D  // "MRCB"
  static let blockHeaderBytes = 16
  static let stateKind: UInt32 = 1
  static let rowsKind: UInt32 = 2
  static let endKind: UInt32 = 3
  static let rowBytes = 28
  static let rowsPerBlockMax = 8192
  static let blockBytesMax = 1 << 26

  /// Everything of a replica but its rows, as it stood when the capture began.
  struct State: Equatable {
    var shard = 0
    var shardCount = 1
    var specificationBytes: [UInt8] = []
    var acceptance = Acceptance(specHash: 0)
    var nextOffset: Int64 = 0
    var labelsThrough = Int64.min
    var lastRecordCRC: UInt32?
    var counts = ReplicaCounts()
    var validation = ValidationTotals()
    var window = ValidationWindow(examples: 1)
    var rowCount: UInt64 = 0
    var rowsHash: UInt64 = 0
    var stateHash: UInt64 = 0
  }
}

extension ShardCheckpoint.State {
  init(of replica: ShardReplica, specificationBytes: [UInt8]) {
    shard = replica.shard
    shardCount = replica.shardCount
    self.specificationBytes = specificationBytes
    acceptance = replica.acceptance
    nextOffset = replica.nextOffset
    labelsThrough = replica.labelsThrough
    lastRecordCRC = replica.lastRecordCRC
    counts = replica.counts
    validation = replica.validation
    window = replica.validationWindow
    rowCount = UInt64(replica.table.rows)
    rowsHash = replica.table.stateHash
    stateHash = replica.stateHash
  }

  var encoded: [UInt8] {
    var out = ByteWriter()
    out.put(ShardCheckpoint.formatVersion)
    out.put(updateLogSemanticsVersion)
    out.put(UInt32(shard))
    out.put(UInt32(shardCount))
    out.put(specificationBytes)
    out.put(acceptance.specHash)
    out.put(acceptance.epoch)
    out.put(UInt8(acceptance.isFrozen ? 1 : 0))
    out.put(acceptance.skippedOffsets)
    out.put(UInt32(acceptance.progress.count))
    for (partition, at) in acceptance.progress.sorted(by: { $0.key < $1.key }) {
      out.put(partition)
      out.put(at.offset)
      out.put(at.featuresTo)
      out.put(at.labelsTo)
      out.put(at.batch)
    }
    out.put(nextOffset)
    out.put(labelsThrough)
    out.put(UInt8(lastRecordCRC == nil ? 0 : 1))
    out.put(lastRecordCRC ?? 0)
    out.put(counts.recordsAccepted)
    out.put(counts.recordsInvalid)
    out.put(counts.examples)
    out.put(counts.rowsApplied)
    out.put(counts.valuesRefused)
    out.put(UInt32(counts.recordsDropped.count))
    for n in counts.recordsDropped { out.put(n) }
    Self.put(validation, &out)
    out.put(window.examplesPerBucket)
    out.put(UInt32(window.newest))
    for bucket in window.buckets { Self.put(bucket, &out) }
    out.put(rowCount)
    out.put(rowsHash)
    out.put(stateHash)
    return out.bytes
  }

  private static func put(_ totals: ValidationTotals, _ out: inout ByteWriter) {
    out.put(totals.examples)
    for sum in [totals.weight, totals.lossSum, totals.labelSum, totals.predictionSum, totals.squaredErrorSum] { out.put(sum) }
    out.put(totals.eventTimeFromMilliseconds)
    out.put(totals.eventTimeThroughMilliseconds)
    for (bin, n) in totals.bins.enumerated() where n != 0 {
      out.put(UInt16(bin))
      out.put(n)
    }
    out.put(UInt16.max)
  }

  private static func totals(_ reader: inout ByteReader) throws(ByteReader.Short) -> ValidationTotals {
    var totals = ValidationTotals()
    totals.examples = try reader.get()
    totals.weight = try reader.double()
    totals.lossSum = try reader.double()
    totals.labelSum = try reader.double()
    totals.predictionSum = try reader.double()
    totals.squaredErrorSum = try reader.double()
    totals.eventTimeFromMilliseconds = try reader.get()
    totals.eventTimeThroughMilliseconds = try reader.get()
    while true {
      let bin = Int(try reader.get(UInt16.self))
      if bin == Int(UInt16.max) { return totals }
      guard bin < totals.bins.count else { throw ByteReader.Short() }
      totals.bins[bin] = try reader.get()
    }
  }

  /// `path` and `at` for errors. Never traps.
  static func decode(_ bytes: UnsafeRawBufferPointer, path: String, at: Int) throws(CheckpointError) -> Self {
    do {
      return try decode(bytes, path: path)
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .corrupt(path: path, atByte: at, "the block of state does not hold what it should")
    }
  }

  private static func decode(_ bytes: UnsafeRawBufferPointer, path: String) throws -> Self {
    var reader = ByteReader(bytes: bytes)
    var state = Self()
    let version = try reader.get(UInt32.self)
    guard version == ShardCheckpoint.formatVersion else { throw CheckpointError.unknownFormat(path: path, version: version) }
    let semantics = try reader.get(UInt32.self)
    guard semantics == updateLogSemanticsVersion else {
      throw CheckpointError.wrongModel(path: path, "applied with semantics \(semantics), this build has \(updateLogSemanticsVersion)")
    }
    state.shard = Int(try reader.get(UInt32.self))
    state.shardCount = Int(try reader.get(UInt32.self))
    state.specificationBytes = try reader.array()
    let specHash = try reader.get(UInt64.self)
    let epoch = try reader.get(UInt32.self)
    let isFrozen = try reader.get(UInt8.self) != 0
    let skipped = try reader.get(Int64.self)
    var progress: [Int32: SourceProgress] = [:]
    for _ in 0..<(try reader.count(minimumBytes: 36)) {
      let partition = try reader.get(Int32.self)
      progress[partition] = SourceProgress(
        offset: try reader.get(), featuresTo: try reader.get(), labelsTo: try reader.get(), batch: try reader.get())
    }
    state.acceptance = Acceptance(specHash: specHash, epoch: epoch, isFrozen: isFrozen, progress: progress, skippedOffsets: skipped)
    state.nextOffset = try reader.get()
    state.labelsThrough = try reader.get()
    let hasCRC = try reader.get(UInt8.self) != 0
    let crc = try reader.get(UInt32.self)
    state.lastRecordCRC = hasCRC ? crc : nil
    state.counts.recordsAccepted = try reader.get()
    state.counts.recordsInvalid = try reader.get()
    state.counts.examples = try reader.get()
    state.counts.rowsApplied = try reader.get()
    state.counts.valuesRefused = try reader.get()
    for i in 0..<(try reader.count(minimumBytes: 8)) {
      let n = try reader.get(Int64.self)
      // A later version may drop for more reasons; an earlier one for fewer.
      if i < state.counts.recordsDropped.count { state.counts.recordsDropped[i] = n }
    }
    state.validation = try totals(&reader)
    state.window = ValidationWindow(examples: 1)
    state.window.examplesPerBucket = max(1, try reader.get())
    let newest = Int(try reader.get(UInt32.self))
    guard newest < ValidationWindow.bucketCount else { throw ByteReader.Short() }
    state.window.newest = newest
    for i in 0..<ValidationWindow.bucketCount { state.window.buckets[i] = try totals(&reader) }
    state.rowCount = try reader.get()
    state.rowsHash = try reader.get()
    state.stateHash = try reader.get()
    guard reader.isAtEnd, state.nextOffset >= 0 else { throw ByteReader.Short() }
    return state
  }
}

/// Reads a shard's file block by block, and believes nothing that a checksum does not cover.
struct ShardCheckpointReader {
  private let file: CheckpointFileReader
  private var chain: UInt32 = 0
  private var rows: UInt64 = 0
  private var hash: UInt64 = 0
  let state: ShardCheckpoint.State

  init(path: String) throws(CheckpointError) {
    file = try CheckpointFileReader(path)
    let (kind, payload, crc) = try Self.block(file)
    guard kind == ShardCheckpoint.stateKind else { throw .corrupt(path: path, atByte: 0, "the first block is of kind \(kind)") }
    chain = Self.chained(0, crc)
    state = try ShardCheckpoint.State.decode(payload, path: path, at: 0)
  }

  private static func chained(_ chain: UInt32, _ crc: UInt32) -> UInt32 { withUnsafeBytes(of: crc.littleEndian) { mr_crc32c(chain, $0.baseAddress, 4) } }

  private static func block(_ file: CheckpointFileReader) throws(CheckpointError) -> (kind: UInt32, payload: UnsafeRawBufferPointer, crc: UInt32) {
    let at = file.offset
    let header = try file.read(ShardCheckpoint.blockHeaderBytes)
    func word(_ offset: Int) -> UInt32 { UInt32(littleEndian: header.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    guard word(0) == ShardCheckpoint.magic else { throw .corrupt(path: file.path, atByte: at, "no block starts here") }
    let kind = word(4)
    let size = Int(word(8))
    let stored = word(12)
    guard size <= ShardCheckpoint.blockBytesMax else { throw .corrupt(path: file.path, atByte: at, "a block of \(size) bytes") }
    let seed = mr_crc32c(0, header.baseAddress! + 4, 8)
    let payload = try file.read(size)
    guard mr_crc32c(seed, payload.baseAddress, size) == stored else { throw .corrupt(path: file.path, atByte: at, "the block's checksum does not hold") }
    return (kind, payload, stored)
  }

  /// Hands every row to `body`, then checks number, hash and end.
  mutating func readRows(_ body: (mr_row) throws(CheckpointError) -> Void) throws(CheckpointError) {
    while true {
      let at = file.offset
      let (kind, payload, crc) = try Self.block(file)
      if kind == ShardCheckpoint.endKind {
        guard payload.count == 12 else { throw .corrupt(path: file.path, atByte: at, "the last block has \(payload.count) bytes") }
        let count = UInt64(littleEndian: payload.loadUnaligned(as: UInt64.self))
        let stored = UInt32(littleEndian: payload.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        guard stored == chain else { throw .corrupt(path: file.path, atByte: at, "blocks are missing or out of order") }
        guard count == rows, rows == state.rowCount else { throw .corrupt(path: file.path, atByte: at, "\(rows) rows of \(state.rowCount)") }
        guard hash == state.rowsHash else { throw .corrupt(path: file.path, atByte: at, "the rows do not give the state hash") }
        let whole = StateHash.shard(
          rows: hash, progress: state.acceptance.progressHash, epoch: state.acceptance.epoch, isFrozen: state.acceptance.isFrozen)
        guard whole == state.stateHash else { throw .corrupt(path: file.path, atByte: at, "progress and epoch do not give the state hash") }
        guard file.isAtEnd else { throw .corrupt(path: file.path, atByte: file.offset, "bytes after the last block") }
        return
      }
      guard kind == ShardCheckpoint.rowsKind, payload.count % ShardCheckpoint.rowBytes == 0 else {
        throw .corrupt(path: file.path, atByte: at, "a block of kind \(kind) with \(payload.count) bytes")
      }
      chain = Self.chained(chain, crc)
      for offset in stride(from: 0, to: payload.count, by: ShardCheckpoint.rowBytes) {
        func word<T: FixedWidthInteger & BitwiseCopyable>(_ o: Int) -> T { T(littleEndian: payload.loadUnaligned(fromByteOffset: offset + o, as: T.self)) }
        var row = mr_row(
          id: word(0), z: Float(bitPattern: word(8)), n: Float(bitPattern: word(12)), w: 0, touched: word(16), count: word(20))
        hash &+= mr_row_hash(&row)
        rows += 1
        try body(row)
      }
    }
  }
}

/// Frames blocks for a shard's file.
struct ShardCheckpointFramer {
  private var chain: UInt32 = 0
  private var rows: UInt64 = 0

  private mutating func frame(kind: UInt32, payload: UnsafeRawBufferPointer) -> [UInt8] {
    var out = ByteWriter()
    out.bytes.reserveCapacity(ShardCheckpoint.blockHeaderBytes + payload.count)
    out.put(ShardCheckpoint.magic)
    out.put(kind)
    out.put(UInt32(payload.count))
    let seed = out.bytes.withUnsafeBytes { mr_crc32c(0, $0.baseAddress! + 4, 8) }
    let crc = mr_crc32c(seed, payload.baseAddress, payload.count)
    out.put(crc)
    out.bytes.append(contentsOf: payload)
    if kind != ShardCheckpoint.endKind { chain = withUnsafeBytes(of: crc.littleEndian) { mr_crc32c(chain, $0.baseAddress, 4) } }
    return out.bytes
  }

  mutating func state(_ state: ShardCheckpoint.State) -> [UInt8] { state.encoded.withUnsafeBytes { frame(kind: ShardCheckpoint.stateKind, payload: $0) } }

  mutating func rows(_ batch: UnsafeBufferPointer<mr_row>) -> [UInt8] {
    rows += UInt64(batch.count)
    return withUnsafeTemporaryAllocation(byteCount: max(1, batch.count * ShardCheckpoint.rowBytes), alignment: 8) { payload in
      for (index, row) in batch.enumerated() {
        let at = index * ShardCheckpoint.rowBytes
        payload.storeBytes(of: row.id.littleEndian, toByteOffset: at, as: UInt64.self)
        payload.storeBytes(of: row.z.bitPattern.littleEndian, toByteOffset: at + 8, as: UInt32.self)
        payload.storeBytes(of: row.n.bitPattern.littleEndian, toByteOffset: at + 12, as: UInt32.self)
        payload.storeBytes(of: row.touched.littleEndian, toByteOffset: at + 16, as: UInt32.self)
        payload.storeBytes(of: row.count.littleEndian, toByteOffset: at + 20, as: Int64.self)
      }
      return frame(kind: ShardCheckpoint.rowsKind, payload: UnsafeRawBufferPointer(rebasing: payload[..<(batch.count * ShardCheckpoint.rowBytes)]))
    }
  }

  mutating func end() -> [UInt8] {
    var out = ByteWriter()
    out.put(rows)
    out.put(chain)
    return out.bytes.withUnsafeBytes { frame(kind: ShardCheckpoint.endKind, payload: $0) }
  }
}
