import Events
@testable import Learning
import Model
import Testing
@testable import UpdateLog

/// One trainer, one set of replicas, and a log between them whose delay the test decides.
final class TrainerBench {
  let specification: ModelSpecification
  let set: ReplicaSet
  let trainer: Trainer
  var now: Int64 = 0
  /// Appended and not applied yet, in order.
  var log: [(shard: Int, bytes: [UInt8])] = []
  var seeks: [(partition: Int32, offset: Int64)] = []
  private var offsets: [Int64]

  init(_ specification: ModelSpecification, settings: TrainerSettings? = nil, seed: UInt64 = 5) {
    self.specification = specification
    set = ReplicaSet(specification: specification)
    trainer = Trainer(specification: specification, set: set, settings: settings, seed: seed)
    offsets = Array(repeating: 0, count: specification.shards)
  }

  func perform() {
    while let action = trainer.nextAction(nowNanoseconds: now) {
      switch action {
      case .append(let shard, _, let bytes): log.append((shard, Array(bytes)))
      case .seek(let partition, let offset): seeks.append((partition, offset))
      }
    }
  }

  func start(partition: Int32 = 0) {
    trainer.assign(partition: partition, nowNanoseconds: now)
    trainer.tick(nowNanoseconds: now)
    perform()
  }

  /// Offers a record until it is taken; false when the trainer is full.
  func take(_ record: [UInt8], offset: Int64, partition: Int32 = 0) -> TrainerIntake {
    while true {
      let intake = record.withUnsafeBytes {
        trainer.take(partition: partition, offset: offset, record: $0, nowNanoseconds: now)
      }
      guard intake == .again else { return intake }
      perform()
    }
  }

  func flush(drained: Bool = true) {
    trainer.flush(drained: drained)
    perform()
  }

  /// Applies the oldest records until at most `left` remain.
  func apply(leaving left: Int = 0, changing change: (inout [UInt8]) -> Void = { _ in }) {
    while log.count > left {
      var (shard, bytes) = log.removeFirst()
      change(&bytes)
      bytes.withUnsafeBytes { raw in
        let offset = offsets[shard]
        offsets[shard] += 1
        guard let record = try? UpdateRecordView.parse(raw) else {
          _ = set.shards[shard].apply(raw, offset: offset)
          return
        }
        let accepted = set.shards[shard].apply(record, offset: offset).isAccepted
        trainer.observe(shard: shard, record: record, accepted: accepted, nowNanoseconds: now)
      }
    }
  }

  static func specification(shards: Int = 3, count: Bool = false) -> ModelSpecification {
    ModelSpecification(
      name: "bench", family: count ? .count : .linear(loss: .logistic),
      features: count ? [] : [.categorical("a"), .categorical("b"), .categorical("c")], shards: shards)
  }

  /// Records of direct examples are one example each; batches are written with the joiner's header.
  static func record(_ events: [(event: String, label: Double)], number: Int, previous: Int) -> [UInt8] {
    let writer = ExampleWriter()
    writer.begin()
    for (index, given) in events.enumerated() {
      let id = Array("\(number)-\(index)".utf8)
      let event = Array(given.event.utf8)
      id.withUnsafeBytes { id in
        event.withUnsafeBytes { event in
          var example = ExampleView()
          example.id = id
          example.event = event
          example.label = given.label
          example.labelTimeMilliseconds = Int64(number) * 1_000
          writer.append(example)
        }
      }
    }
    var header = ExampleBatchHeader()
    header.featuresFrom = Int64(previous)
    header.featuresTo = Int64(number)
    header.labelsFrom = Int64(previous)
    header.labelsTo = Int64(number)
    header.batch = UInt64(number)
    header.follows = UInt64(previous)
    return Array(writer.finish(header))
  }
}

@Suite struct TrainerTests {
  /// A stream with strong and weak features, and its best weights known to nobody.
  private func stream(_ count: Int, seed: UInt64) -> [(event: String, label: Double)] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { index in
      let a = Int(random.next() % 7)
      let b = Int(random.next() % 300)
      let c = Int(random.next() % 20)
      let sum = Double(a - 3) * 0.7 + Double(b % 5 - 2) * 0.4 + (c == 3 ? 1.5 : -0.3)
      let label = Double(random.next() >> 11) * 0x1p-53 < 1 / (1 + _exp(-sum)) ? 1.0 : 0.0
      return (#"{"id":"e\#(index)","features":{"a":"\#(a)","b":"\#(b)","c":"\#(c)"}}"#, label)
    }
  }

  /// Mean progressive loss when every example is learned and applied before the next one comes.
  private func loss(_ events: [(event: String, label: Double)], perRecord: Int, recordsInFlight: Int) -> Double {
    let bench = TrainerBench(TrainerBench.specification(), settings: TrainerSettings(inFlightExamplesColdMax: 1_000))
    bench.start()
    var number = 0
    var offset: Int64 = 0
    while number < events.count {
      let next = min(events.count, number + perRecord)
      let record = TrainerBench.record(Array(events[number..<next]), number: next, previous: number)
      number = next
      while bench.take(record, offset: offset) == .full { bench.apply(leaving: max(0, bench.log.count - 1)) }
      offset += 1
      bench.flush(drained: false)
      bench.apply(leaving: recordsInFlight * bench.set.shards.count)
    }
    bench.flush()
    bench.apply()
    #expect(bench.set.validation.examples == Int64(events.count))
    #expect(bench.trainer.counters.updatesDropped == 0)
    #expect(bench.trainer.speculation.count == 0, "everything was applied, nothing is ahead of it")
    return bench.set.validation.meanLoss
  }

  @Test func drainsWithTheLossOfSequentialLearning() {
    let events = stream(6_000, seed: 11)
    let sequential = loss(events, perRecord: 1, recordsInFlight: 0)
    let drained = loss(events, perRecord: 128, recordsInFlight: 6)
    print("mean loss: sequential \(sequential), drained in records of 128 with 768 in flight \(drained)")
    #expect(abs(drained - sequential) < 0.005)
    #expect(sequential < 0.65, "it learned nothing")
  }

  @Test func sendsOneRecordToEachTouchedShardAndCoversTheOthersWhenDrained() {
    let bench = TrainerBench(TrainerBench.specification(shards: 4, count: true))
    bench.start()
    #expect(bench.seeks.map(\.offset) == [0])
    #expect(bench.take(TrainerBench.record([("{}", 1)], number: 1, previous: 0), offset: 0) == .taken)
    bench.flush(drained: false)
    let home = RowID.shard(of: RowID.count, count: 4)
    #expect(bench.log.map(\.shard) == [home])
    bench.flush(drained: true)
    #expect(bench.log.map(\.shard).sorted() == [0, 1, 2, 3])
    bench.apply()
    for replica in bench.set.shards {
      #expect(replica.acceptance.progress(of: 0) == SourceProgress(offset: 1, featuresTo: 1, labelsTo: 1, batch: 1))
      #expect(replica.counts.examples == 1)
    }
    #expect(bench.set.shards[home].row(RowID.count).count == 1)
    bench.flush(drained: true)
    #expect(bench.log.isEmpty, "nothing new to cover")
  }

  @Test func waitsWhileEnoughIsInFlight() {
    var settings = TrainerSettings(inFlightExamplesMax: 6, inFlightExamplesColdMax: 6, batchExamplesMax: 2)
    settings.coldExamplesPerStep = 1_000
    let bench = TrainerBench(TrainerBench.specification(count: true), settings: settings)
    bench.start()
    var taken: Int64 = 0
    while taken < 20, bench.take(TrainerBench.record([("{}", 1), ("{}", 1)], number: Int(taken) + 1, previous: Int(taken)), offset: taken) == .taken {
      taken += 1
    }
    #expect(taken == 3)
    bench.flush()
    #expect(bench.trainer.examplesInFlight == 6)
    bench.apply()
    #expect(bench.trainer.examplesInFlight == 0)
    #expect(bench.take(TrainerBench.record([("{}", 1)], number: 4, previous: 3), offset: 3) == .taken)
  }

  @Test func startsOverFromProgressWhenARecordIsDropped() {
    let bench = TrainerBench(TrainerBench.specification(shards: 1, count: true))
    bench.start()
    let records = (0..<4).map { TrainerBench.record([("{}", 1)], number: $0 + 1, previous: $0) }
    // A rival takes the first range while ours is on its way.
    let rival = TrainerBench(TrainerBench.specification(shards: 1, count: true), seed: 6)
    rival.start()
    _ = rival.take(records[0], offset: 0)
    rival.flush()
    for offset in 0..<3 {
      #expect(bench.take(records[offset], offset: Int64(offset)) == .taken)
      bench.flush()
    }
    bench.log.insert(rival.log[0], at: 0)
    bench.apply()
    #expect(bench.trainer.counters.updatesDropped == 1)
    #expect(bench.trainer.counters.resyncs == 1)
    #expect(bench.set.shards[0].acceptance.progress(of: 0).offset == 3, "records after the dropped one still fit")
    #expect(bench.take(records[3], offset: 3) == .ignored, "it is backing off")
    let deadline = bench.trainer.deadlineNanoseconds
    #expect(deadline < .max)
    bench.now = deadline
    guard deadline < .max else { return }
    bench.trainer.tick(nowNanoseconds: bench.now)
    bench.perform()
    #expect(bench.seeks.last?.offset == 3)
    #expect(bench.take(records[3], offset: 3) == .taken)
    bench.flush()
    bench.apply()
    #expect(bench.set.shards[0].row(RowID.count).count == 4)
  }

  @Test func givesUpOnARecordThatIsNotSeen() {
    let bench = TrainerBench(TrainerBench.specification(shards: 1, count: true))
    bench.start()
    #expect(bench.take(TrainerBench.record([("{}", 1)], number: 1, previous: 0), offset: 0) == .taken)
    bench.flush()
    let zombie = bench.log
    bench.log = []
    bench.now = bench.trainer.deadlineNanoseconds
    bench.trainer.tick(nowNanoseconds: bench.now)
    #expect(bench.trainer.counters.updatesLost == 1)
    bench.now = bench.trainer.deadlineNanoseconds
    bench.trainer.tick(nowNanoseconds: bench.now)
    bench.perform()
    #expect(bench.seeks.last?.offset == 0)
    #expect(bench.take(TrainerBench.record([("{}", 1)], number: 1, previous: 0), offset: 0) == .taken)
    bench.flush()
    // The lost one comes after all, before its repetition: one of the two counts.
    bench.log.insert(contentsOf: zombie, at: 0)
    bench.apply()
    #expect(bench.set.shards[0].row(RowID.count).count == 1)
    #expect(bench.trainer.counters.updatesDropped == 1)
  }

  @Test func contributesOnlyToShardsThatHaveNotPassed() {
    let bench = TrainerBench(TrainerBench.specification(shards: 3))
    bench.start()
    let first = TrainerBench.record(stream(8, seed: 3), number: 8, previous: 0)
    _ = bench.take(first, offset: 0)
    bench.flush()
    #expect(bench.log.count == 3)
    // One shard's record is lost.
    bench.log.removeAll { $0.shard == 1 }
    bench.apply()
    bench.now = bench.trainer.deadlineNanoseconds
    bench.trainer.tick(nowNanoseconds: bench.now)
    bench.now = bench.trainer.deadlineNanoseconds
    bench.trainer.tick(nowNanoseconds: bench.now)
    bench.perform()
    #expect(bench.seeks.last?.offset == 0)
    _ = bench.take(first, offset: 0)
    bench.flush()
    #expect(bench.log.map(\.shard) == [1])
    bench.apply()
    for replica in bench.set.shards { #expect(replica.counts.examples == 8) }
    #expect(bench.set.validation.examples == 8)
  }

  @Test func asksAgainBeforeItBelievesInAHole() {
    let bench = TrainerBench(TrainerBench.specification(shards: 1, count: true))
    bench.start()
    let record = TrainerBench.record([("{}", 1)], number: 1, previous: 0)
    for sighting in 1..<5 {
      #expect(bench.take(record, offset: 5) == .ignored)
      bench.perform()
      #expect(bench.seeks.map(\.offset) == Array(repeating: 0, count: sighting + 1))
    }
    #expect(bench.take(record, offset: 5) == .taken, "there is nothing in between")
    bench.flush()
    bench.apply()
    #expect(bench.set.shards[0].acceptance.progress(of: 0).offset == 6)
  }

  @Test func waitsWhileFrozen() {
    let bench = TrainerBench(TrainerBench.specification(shards: 1, count: true))
    let writer = UpdateRecordWriter()
    bench.log.append((0, Array(writer.control(UpdateHeader(kind: .freeze, specHash: bench.specification.hash)))))
    bench.apply()
    bench.start()
    #expect(bench.seeks.isEmpty)
    bench.log.append((0, Array(writer.control(UpdateHeader(kind: .thaw, specHash: bench.specification.hash, epoch: 1), .thaw([])))))
    bench.apply()
    bench.now = bench.trainer.deadlineNanoseconds
    bench.trainer.tick(nowNanoseconds: bench.now)
    bench.perform()
    #expect(bench.seeks.map(\.offset) == [0])
  }

  @Test func passesOverWhatCannotBeRead() {
    let bench = TrainerBench(TrainerBench.specification(shards: 2))
    bench.start()
    #expect(bench.take([9, 9, 9], offset: 0) == .taken)
    #expect(bench.take(TrainerBench.record([("not json", 1), (#"{"id":"x","features":{"a":"1"}}"#, 7)], number: 1, previous: 0), offset: 1) == .taken)
    bench.flush()
    bench.apply()
    #expect(bench.trainer.counters.recordsInvalid == 1)
    #expect(bench.trainer.counters.examplesInvalid == 2, "one event that is none, one label that is none")
    for replica in bench.set.shards { #expect(replica.acceptance.progress(of: 0).offset == 2) }
  }
}

/// The exponential, without Foundation: enough digits for drawing labels.
private func _exp(_ x: Double) -> Double {
  var term = 1.0
  var sum = 1.0
  let halved = x / 64
  for k in 1...20 {
    term *= halved / Double(k)
    sum += term
  }
  for _ in 0..<6 { sum *= sum }
  return sum
}
