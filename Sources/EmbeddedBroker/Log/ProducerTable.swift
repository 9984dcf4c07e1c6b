/// What a partition remembers of idempotent producers (KIP-98): the epoch and the last batches of each, so that a retried batch
/// is recognized and a lost one is noticed.
struct ProducerTable {
  /// Batches remembered for each producer: as many as a client may have in flight.
  static let batchesMax = 5
  /// Producers remembered; beyond it the longest idle ones go.
  static let producersMax = 10_000

  struct Batch: Equatable {
    let firstSequence: Int32
    let lastSequence: Int32
    let baseOffset: Int64
  }

  struct Producer: Equatable {
    var epoch: Int16
    /// Oldest first, never empty.
    var batches: [Batch]
    /// Wall clock milliseconds of the last append, for expiry.
    var lastUsed: Int64
  }

  private(set) var producers: [Int64: Producer] = [:]

  enum Decision: Equatable {
    case append
    /// It is in the log already, at this offset.
    case duplicate(baseOffset: Int64)
    case refuse(ErrorCode, String)
  }

  /// Sequences wrap from Int32.max to 0.
  static func advance(_ sequence: Int32, by count: Int32) -> Int32 {
    sequence > Int32.max - count ? count - (Int32.max - sequence) - 1 : sequence + count
  }

  /// How far `b` is ahead of `a` on the circle of sequences.
  private static func distance(from a: Int32, to b: Int32) -> Int32 {
    b >= a ? b - a : Int32(truncatingIfNeeded: Int64(b) - Int64(a) + Int64(Int32.max) + 1)
  }

  /// Decides about a validated idempotent batch.
  func decide(_ header: RecordBatchHeader) -> Decision {
    let first = header.baseSequence
    let last = Self.advance(first, by: header.lastOffsetDelta)
    guard let producer = producers[header.producerID], let newest = producer.batches.last else {
      if first == 0 { return .append }
      return .refuse(.unknownProducerID, "producer \(header.producerID) is not known and its first sequence is \(first), not 0")
    }
    if header.producerEpoch < producer.epoch {
      return .refuse(
        .invalidProducerEpoch, "producer \(header.producerID) epoch \(header.producerEpoch) is older than \(producer.epoch)")
    }
    if header.producerEpoch > producer.epoch {
      if first == 0 { return .append }
      return .refuse(.outOfOrderSequenceNumber, "a new epoch begins with sequence 0, not \(first)")
    }
    for batch in producer.batches where batch.firstSequence == first && batch.lastSequence == last {
      return .duplicate(baseOffset: batch.baseOffset)
    }
    if first == Self.advance(newest.lastSequence, by: 1) { return .append }
    // Behind what was appended, but older than what is remembered: it is in the log, the offset is not known.
    if Self.distance(from: last, to: newest.lastSequence) < Int32.max / 2 {
      return .refuse(.duplicateSequenceNumber, "sequences \(first)...\(last) were appended before")
    }
    return .refuse(
      .outOfOrderSequenceNumber,
      "producer \(header.producerID) sent sequence \(first), expected \(Self.advance(newest.lastSequence, by: 1))")
  }

  /// Notes an appended batch.
  mutating func append(_ header: RecordBatchHeader, now: Int64) {
    let batch = Batch(
      firstSequence: header.baseSequence,
      lastSequence: Self.advance(header.baseSequence, by: header.lastOffsetDelta), baseOffset: header.baseOffset)
    if producers[header.producerID]?.epoch == header.producerEpoch {
      producers[header.producerID]?.batches.append(batch)
      if let count = producers[header.producerID]?.batches.count, count > Self.batchesMax {
        producers[header.producerID]?.batches.removeFirst(count - Self.batchesMax)
      }
      producers[header.producerID]?.lastUsed = now
    } else {
      if producers.count >= Self.producersMax { evict() }
      producers[header.producerID] = Producer(epoch: header.producerEpoch, batches: [batch], lastUsed: now)
    }
  }

  /// Forgets producers that were last used before `time`.
  mutating func expire(before time: Int64) {
    guard producers.values.contains(where: { $0.lastUsed < time }) else { return }
    producers = producers.filter { $0.value.lastUsed >= time }
  }

  /// Forgets the longest idle tenth, so that the cost of finding them is spread.
  private mutating func evict() {
    let times = producers.values.map(\.lastUsed).sorted()
    let limit = times[times.count / 10]
    producers = producers.filter { $0.value.lastUsed > limit }
  }

  // MARK: Snapshot

  private static let magic: UInt32 = 0x4D52_5052

  /// Saves the table as of `offset`, the end of the log.
  func save(_ path: String, offset: Int64) throws(StorageError) {
    try ChecksummedFile.write(path, magic: Self.magic) { writer in
      writer.int64(offset)
      writer.array(producers) { writer, element in
        writer.int64(element.key)
        writer.int16(element.value.epoch)
        writer.int64(element.value.lastUsed)
        writer.array(element.value.batches) { writer, batch in
          writer.int32(batch.firstSequence)
          writer.int32(batch.lastSequence)
          writer.int64(batch.baseOffset)
        }
      }
    }
  }

  /// The saved table and the offset up to which it counts; nil when there is none.
  static func load(_ path: String) -> (table: ProducerTable, offset: Int64)? {
    guard let payload = ChecksummedFile.read(path, magic: magic) else { return nil }
    return payload.withUnsafeBytes { bytes in
      do throws(WireError) {
        var reader = WireReader(bytes)
        var table = ProducerTable()
        let offset = try reader.int64("offset")
        for _ in 0..<(try reader.arrayCount("producers", elementBytesMin: 22)) {
          let id = try reader.int64("producerID")
          var producer = Producer(epoch: try reader.int16("epoch"), batches: [], lastUsed: try reader.int64("lastUsed"))
          for _ in 0..<(try reader.arrayCount("batches", elementBytesMin: 16)) {
            producer.batches.append(
              Batch(
                firstSequence: try reader.int32("firstSequence"), lastSequence: try reader.int32("lastSequence"),
                baseOffset: try reader.int64("baseOffset")))
          }
          if !producer.batches.isEmpty { table.producers[id] = producer }
        }
        return (table, offset)
      } catch {
        return nil
      }
    }
  }
}
