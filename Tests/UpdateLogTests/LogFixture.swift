import Model
import UpdateLog

/// SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func below(_ n: Int) -> Int { Int(next() % UInt64(n)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

func linear(shards: Int = 1, loss: Loss = .logistic, l1: Double = 0) -> ModelSpecification {
  ModelSpecification(
    name: "m", family: .linear(loss: loss), features: [.categorical("a")],
    learning: LearningSettings(optimizer: .ftrl(alpha: 0.1, beta: 1, l1: l1, l2: 0), gradientBound: 10, validationWindowExamples: 160), shards: shards)
}

func counting(shards: Int = 1) -> ModelSpecification { ModelSpecification(name: "c", family: .count, shards: shards) }

/// A log of one shard under construction: its records in order, as bytes.
struct LogFixture {
  let specification: ModelSpecification
  let shard: Int
  var generator: SeededGenerator
  var records: [[UInt8]] = []
  var progress: [Int32: Int64] = [:]
  private let writer = UpdateRecordWriter(capacityBytes: 200)

  init(_ specification: ModelSpecification, shard: Int = 0, seed: UInt64) {
    self.specification = specification
    self.shard = shard
    generator = SeededGenerator(seed: seed)
    records.append(Array(writer.spec(specification)))
  }

  func header(partition: Int32, from: Int64, to: Int64, epoch: UInt32 = 0, examples: Int32 = 4) -> UpdateHeader {
    UpdateHeader(
      kind: .update, specHash: specification.hash, epoch: epoch, sourcePartition: partition, from: from,
      to: SourceProgress(offset: to, featuresTo: to * 2, labelsTo: to * 3, batch: UInt64(bitPattern: to)), trainer: 9,
      eventTimeFromMilliseconds: from * 1000, eventTimeThroughMilliseconds: to * 1000, examples: examples)
  }

  /// The next update of a random source, with rows of random values.
  mutating func appendUpdate(rowsMax: Int = 40, idsBelow: UInt64 = 500, validation: ValidationSample? = nil) {
    let partition = Int32(generator.below(3))
    let from = progress[partition] ?? 0
    let to = from + 1 + Int64(generator.below(5))
    progress[partition] = to
    var ids = Set<UInt64>()
    for _ in 0..<generator.below(rowsMax + 1) {
      let id = generator.next() % idsBelow
      if RowID.shard(of: id, count: specification.shards) == shard { ids.insert(id) }
    }
    let sorted = ids.sorted()
    let header = header(partition: partition, from: from, to: to)
    if specification.family == .count {
      let bytes = writer.counts(header, rows: sorted.count, validation: validation) { toIDs, toCounts in
        for (i, id) in sorted.enumerated() {
          toIDs[i] = id
          toCounts[i] = Int64(generator.below(5))
        }
        return sorted.count
      }
      records.append(Array(bytes))
      return
    }
    let g = sorted.map { _ in Float.random(in: -2...2, using: &generator) }
    records.append(Array(writer.update(header, ids: sorted, gradients: g, squares: g.map { $0 * $0 }, count: sorted.count, validation: validation)))
  }
}

extension ShardReplica {
  @discardableResult
  func apply(_ record: [UInt8], offset: Int64) -> ApplyOutcome { record.withUnsafeBytes { apply($0, offset: offset) } }

  /// Applies records at offsets `from`, `from + 1` and so on.
  func applyAll(_ records: some Sequence<[UInt8]>, from: Int64 = 0) {
    for (i, record) in records.enumerated() { apply(record, offset: from + Int64(i)) }
  }
}
