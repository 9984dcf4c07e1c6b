import Events
@testable import Learning
import Model
@testable import UpdateLog

/// The whole protocol of trainers and replicas from one seed, without IO: a log of examples with rival and broken
/// batches in it, an update log for each shard, rival trainers and plain replicas that crash, pause and fall behind,
/// and appends that are lost, delayed, repeated and overtaken. Whoever breaks a promise of the design is named.
struct ProtocolSimulation {
  enum Violation: Error, Equatable, CustomStringConvertible {
    case countDiffers(shard: Int, learned: Int64, expected: Int64)
    case rowDiffers(shard: Int, sum: Int64, expected: Int64)
    case validationDiffers(Int64, expected: Int64)
    case replicasDiffer(shard: Int, offset: Int64)
    case recomputedDiffers(shard: Int)
    case acceptedWhileFrozen(shard: Int, offset: Int64)
    case acceptedFromBeforeControl(shard: Int, offset: Int64)
    case stalled(progress: [Int64], ends: [Int64])

    var description: String {
      switch self {
      case .countDiffers(let shard, let learned, let expected): "shard \(shard) counted \(learned) examples of \(expected)"
      case .rowDiffers(let shard, let sum, let expected): "shard \(shard): the count row is \(sum), the log has \(expected) examples"
      case .validationDiffers(let examples, let expected): "validation saw \(examples) examples of \(expected)"
      case .replicasDiffer(let shard, let offset): "two replicas of shard \(shard) differ at offset \(offset)"
      case .recomputedDiffers(let shard): "the rolling hash of shard \(shard) is not that of its rows"
      case .acceptedWhileFrozen(let shard, let offset): "shard \(shard) accepted an update at \(offset) while frozen"
      case .acceptedFromBeforeControl(let shard, let offset): "shard \(shard) accepted at \(offset) what was computed before a control record"
      case .stalled(let progress, let ends): "nobody got to the end: progress \(progress) of \(ends)"
      }
    }
  }

  struct Plan {
    var seed: UInt64
    var count = true
    var shards = 3
    var partitions = 2
    var trainers = 3
    var replicas = 2
    var records = 60
    /// Probabilities in 1/1000 for each append or step.
    var lost = 40
    var delayed = 150
    var repeated = 40
    var crash = 4
    var pause = 15
    var skippedFetch = 20
    var revoked = 5
    var injected = 15
    var freeze = 3
    var trainerMutation: TrainerMutation = []
    var rulesOut: AcceptanceRules = []

    /// What a seed plays.
    init(seed: UInt64, count: Bool) {
      self.seed = seed
      self.count = count
      var random = SplitMix64(seed: seed &* 31 &+ 7)
      shards = Int.random(in: 1...4, using: &random)
      partitions = Int.random(in: 1...3, using: &random)
      trainers = Int.random(in: 1...3, using: &random)
      records = Int.random(in: 20...80, using: &random)
      if random.next() % 4 == 0 { (lost, crash, freeze) = (0, 0, 0) }
    }
  }

  private struct Arrival {
    var time: Int64
    var shard: Int
    var bytes: [UInt8]
  }

  private final class Node {
    let set: ReplicaSet
    var trainer: Trainer?
    /// Source offsets to fetch next; -1: not reading.
    var fetch: [Int64]
    /// The ends of the update logs when the node started: it trains once it has passed them.
    var startEnds: [Int]
    var assigned = false
    var pausedUntil: Int64 = 0
    /// Update log offset of the last control record that a shard accepted.
    var lastControl: [Int64]

    init(_ plan: Plan, _ specification: ModelSpecification, trainerSeed: UInt64?, startEnds: [Int]) {
      set = ReplicaSet(specification: specification)
      for replica in set.shards { replica.acceptance.rules.subtract(plan.rulesOut) }
      var settings = TrainerSettings(
        inFlightExamplesMax: 40, inFlightExamplesColdMax: 12, batchExamplesMax: 8, coverOffsetsMax: 6,
        coverDelayNanosecondsMax: 20_000_000, ownRecordTimeoutNanoseconds: 200_000_000, backoffBaseNanoseconds: 2_000_000,
        backoffNanosecondsMax: 100_000_000)
      settings.coldExamplesPerStep = 3
      if let trainerSeed { trainer = Trainer(specification: specification, set: set, settings: settings, seed: trainerSeed) }
      trainer?.mutation = plan.trainerMutation
      fetch = Array(repeating: -1, count: plan.partitions)
      lastControl = Array(repeating: -1, count: plan.shards)
      self.startEnds = startEnds
    }
  }

  let plan: Plan
  private let specification: ModelSpecification
  private var random: SplitMix64
  private var now: Int64 = 0
  private var examples: [[[UInt8]]]
  private var expected: Int64 = 0
  private var updates: [[[UInt8]]]
  private var network: [Arrival] = []
  private var nodes: [Node] = []
  private var hashes: [[UInt64?]]
  private var trainerSeed: UInt64 = 1
  private(set) var resyncs = 0
  private(set) var dropped = 0

  init(_ plan: Plan) {
    self.plan = plan
    random = SplitMix64(seed: plan.seed)
    specification = ModelSpecification(
      name: "simulated", family: plan.count ? .count : .linear(loss: .logistic),
      features: plan.count ? [] : [.categorical("a"), .categorical("b"), .numeric("x")], shards: plan.shards)
    examples = Array(repeating: [], count: plan.partitions)
    updates = Array(repeating: [], count: plan.shards)
    hashes = Array(repeating: [], count: plan.shards)
  }

  // MARK: Play

  mutating func run() throws(Violation) {
    writeExamples()
    let writer = UpdateRecordWriter()
    for shard in 0..<plan.shards { updates[shard].append(Array(writer.spec(specification))) }
    for index in 0..<plan.trainers + plan.replicas { nodes.append(node(trains: index < plan.trainers)) }
    var rounds = 0
    // Faults at first, then a world that behaves: whatever happened, it must come to the end.
    while rounds < 400 || (rounds < 6_000 && !isDone) {
      try round(faults: rounds < 400)
      rounds += 1
    }
    try check()
  }

  private func chance(_ perMille: Int, _ random: inout SplitMix64) -> Bool { Int(random.next() % 1000) < perMille }

  private mutating func node(trains: Bool) -> Node {
    trainerSeed += 1
    return Node(
      plan, specification, trainerSeed: trains ? plan.seed &* 1_000 &+ trainerSeed : nil, startEnds: updates.map(\.count))
  }

  private mutating func round(faults: Bool) throws(Violation) {
    now += Int64(random.next() % 4_000_000)
    deliver()
    if faults { inject() }
    for index in nodes.indices {
      if faults, chance(plan.crash, &random) {
        resyncs += nodes[index].trainer?.counters.resyncs ?? 0
        nodes[index] = node(trains: nodes[index].trainer != nil)
        continue
      }
      if faults, chance(plan.pause, &random) { nodes[index].pausedUntil = now + Int64(random.next() % 300_000_000) }
      if nodes[index].pausedUntil > now { continue }
      try step(nodes[index], faults: faults)
    }
  }

  private mutating func step(_ node: Node, faults: Bool) throws(Violation) {
    try applyUpdates(node)
    guard let trainer = node.trainer else { return }
    if !node.assigned, node.startEnds.indices.allSatisfy({ node.set.shards[$0].nextOffset >= Int64(node.startEnds[$0]) }) {
      node.assigned = true
      for partition in 0..<plan.partitions { trainer.assign(partition: Int32(partition), nowNanoseconds: now) }
    }
    if faults, node.assigned, chance(plan.revoked, &random) {
      let partition = Int32(random.next() % UInt64(plan.partitions))
      trainer.revoke(partition: partition)
      trainer.assign(partition: partition, nowNanoseconds: now)
    }
    var failed: [Int32] = []
    for partition in 0..<plan.partitions { feed(node, trainer, partition, faults: faults, &failed) }
    trainer.flush(drained: !faults || !chance(300, &random))
    perform(node, trainer, faults: faults, &failed)
    for partition in failed { trainer.appendFailed(sourcePartition: partition, nowNanoseconds: now) }
    trainer.tick(nowNanoseconds: now)
    perform(node, trainer, faults: faults, &failed)
  }

  private mutating func applyUpdates(_ node: Node) throws(Violation) {
    for shard in 0..<plan.shards {
      let replica = node.set.shards[shard]
      var budget = Int(random.next() % 6)
      while budget > 0, replica.nextOffset < Int64(updates[shard].count) {
        budget -= 1
        let offset = replica.nextOffset
        let bytes = updates[shard][Int(offset)]
        var violation: Violation?
        bytes.withUnsafeBytes { raw in
          guard let record = try? UpdateRecordView.parse(raw) else {
            _ = replica.apply(raw, offset: offset)
            return
          }
          let wasFrozen = replica.acceptance.isFrozen
          let accepted = replica.apply(record, offset: offset).isAccepted
          if accepted, record.header.kind == .freeze || record.header.kind == .thaw { node.lastControl[shard] = offset }
          if record.header.kind == .update {
            if !accepted { dropped += 1 }
            if accepted, wasFrozen { violation = .acceptedWhileFrozen(shard: shard, offset: offset) }
            if accepted, record.header.basis.offset >= 0, record.header.basis.offset <= node.lastControl[shard] {
              violation = .acceptedFromBeforeControl(shard: shard, offset: offset)
            }
          }
          node.trainer?.observe(shard: shard, record: record, accepted: accepted, nowNanoseconds: now)
        }
        if let violation { throw violation }
        let next = Int(replica.nextOffset)
        while hashes[shard].count <= next { hashes[shard].append(nil) }
        if let known = hashes[shard][next] {
          guard known == replica.stateHash else { throw .replicasDiffer(shard: shard, offset: replica.nextOffset) }
        } else {
          hashes[shard][next] = replica.stateHash
        }
      }
    }
  }

  private mutating func feed(_ node: Node, _ trainer: Trainer, _ partition: Int, faults: Bool, _ failed: inout [Int32]) {
    var budget = Int(random.next() % 5)
    while budget > 0, node.fetch[partition] >= 0, node.fetch[partition] < Int64(examples[partition].count) {
      budget -= 1
      // A client that loses what it fetched goes on behind it. (Nobody could notice the loss of the last record.)
      if faults, node.fetch[partition] + 1 < Int64(examples[partition].count), chance(plan.skippedFetch, &random) {
        node.fetch[partition] += 1
        continue
      }
      let offset = node.fetch[partition]
      let intake = examples[partition][Int(offset)].withUnsafeBytes {
        trainer.take(partition: Int32(partition), offset: offset, record: $0, nowNanoseconds: now)
      }
      if intake == .taken || intake == .ignored { node.fetch[partition] = offset + 1 }
      perform(node, trainer, faults: faults, &failed)
      if intake == .full { return }
    }
  }

  private mutating func perform(_ node: Node, _ trainer: Trainer, faults: Bool, _ failed: inout [Int32]) {
    while let action = trainer.nextAction(nowNanoseconds: now) {
      switch action {
      case .seek(let partition, let offset): node.fetch[Int(partition)] = offset
      case .append(let shard, let partition, let bytes):
        let copy = Array(bytes)
        if faults, chance(plan.lost, &random) {
          // Half of the losses are reported.
          if random.next() % 2 == 0 { failed.append(partition) }
          continue
        }
        send(copy, shard: shard, faults: faults)
        if faults, chance(plan.repeated, &random) { send(copy, shard: shard, faults: true) }
      }
    }
  }

  private mutating func send(_ bytes: [UInt8], shard: Int, faults: Bool) {
    var delay = Int64(random.next() % 3_000_000)
    if faults, chance(plan.delayed, &random) { delay = Int64(random.next() % 400_000_000) }
    network.append(Arrival(time: now + delay, shard: shard, bytes: bytes))
  }

  private mutating func deliver() {
    let due = network.filter { $0.time <= now }.sorted { $0.time < $1.time }
    network.removeAll { $0.time <= now }
    for arrival in due { updates[arrival.shard].append(arrival.bytes) }
  }

  /// What others write into the log: foreign records, garbage, empty ranges, freezes.
  private mutating func inject() {
    let writer = UpdateRecordWriter()
    let shard = Int(random.next() % UInt64(plan.shards))
    let node = nodes[Int(random.next() % UInt64(nodes.count))]
    let acceptance = node.set.shards[shard].acceptance
    if chance(plan.injected, &random) {
      let partition = Int32(random.next() % UInt64(plan.partitions))
      let here = acceptance.progress(of: partition)
      var to = here
      to.offset += 1
      var header = UpdateHeader(
        kind: .update, specHash: specification.hash, epoch: acceptance.epoch, sourcePartition: partition, from: here.offset, to: to,
        trainer: 0xBAD0000, examples: 7)
      switch random.next() % 3 {
      case 0: header.specHash ^= 1
      case 1: header.to = here
      default:
        updates[shard].append([1, 2, 3])
        return
      }
      updates[shard].append(
        plan.count
          ? Array(writer.counts(header, rows: 0) { _, _ in 0 }) : Array(writer.update(header, rows: 0) { _, _, _ in 0 }))
    }
    if chance(plan.freeze, &random) { control(node, writer) }
  }

  /// Freezes all shards, or lets them go on; sometimes late on some.
  private mutating func control(_ node: Node, _ writer: UpdateRecordWriter) {
    for shard in 0..<plan.shards {
      let acceptance = node.set.shards[shard].acceptance
      let thaws = acceptance.isFrozen
      let bytes = Array(
        writer.control(
          UpdateHeader(kind: thaws ? .thaw : .freeze, specHash: specification.hash, epoch: acceptance.epoch), thaws ? .thaw([]) : .none))
      network.append(Arrival(time: now + Int64(random.next() % 20_000_000), shard: shard, bytes: bytes))
    }
  }

  // MARK: The end

  private mutating func thawWhatIsFrozen() {
    let writer = UpdateRecordWriter()
    for shard in 0..<plan.shards {
      guard let node = nodes.max(by: { $0.set.shards[shard].nextOffset < $1.set.shards[shard].nextOffset }) else { continue }
      let replica = node.set.shards[shard]
      guard replica.nextOffset == Int64(updates[shard].count), replica.acceptance.isFrozen else { continue }
      updates[shard].append(
        Array(writer.control(UpdateHeader(kind: .thaw, specHash: specification.hash, epoch: replica.acceptance.epoch), .thaw([]))))
    }
  }

  private var isDone: Bool {
    mutating get {
      thawWhatIsFrozen()
      guard network.isEmpty else { return false }
      for node in nodes {
        for shard in 0..<plan.shards {
          guard node.set.shards[shard].nextOffset == Int64(updates[shard].count) else { return false }
          for partition in 0..<plan.partitions
          where node.set.shards[shard].acceptance.progress(of: Int32(partition)).offset < Int64(examples[partition].count) {
            return false
          }
        }
      }
      return true
    }
  }

  private mutating func check() throws(Violation) {
    for node in nodes { resyncs += node.trainer?.counters.resyncs ?? 0 }
    guard isDone else {
      throw .stalled(
        progress: (0..<plan.partitions).flatMap { partition in
          nodes[0].set.shards.map { $0.acceptance.progress(of: Int32(partition)).offset }
        }, ends: examples.map { Int64($0.count) })
    }
    for node in nodes {
      for (shard, replica) in node.set.shards.enumerated() {
        guard replica.counts.examples == expected else {
          throw .countDiffers(shard: shard, learned: replica.counts.examples, expected: expected)
        }
        guard replica.recomputedStateHash() == replica.stateHash else { throw .recomputedDiffers(shard: shard) }
        if plan.count, shard == RowID.shard(of: RowID.count, count: plan.shards) {
          let sum = replica.row(RowID.count).count
          guard sum == expected else { throw .rowDiffers(shard: shard, sum: sum, expected: expected) }
        }
      }
      if !plan.count {
        let validated = node.set.validation.examples
        guard validated == expected else { throw .validationDiffers(validated, expected: expected) }
      }
    }
  }

  // MARK: The examples log

  private mutating func writeExamples() {
    let writer = ExampleWriter()
    for partition in 0..<plan.partitions {
      var state = ExamplesReaderState()
      var identity = UInt64(partition) << 32
      while examples[partition].count < plan.records {
        writer.begin()
        let count = Int(random.next() % 6)
        for index in 0..<count { append(partition * 1_000 + examples[partition].count * 7 + index, to: writer) }
        var header = ExampleBatchHeader()
        let kind = random.next() % 20
        if kind > 0 {
          identity += 1
          header.featuresFrom = state.featuresTo
          header.featuresTo = state.featuresTo + Int64(count)
          header.labelsFrom = state.labelsTo
          header.labelsTo = state.labelsTo + Int64(count)
          header.batch = identity
          header.follows = state.batch
          // A rival's batch, decided after one that was not accepted.
          if kind <= 3 { header.follows ^= 0x7777 }
        } else if count == 0 {
          examples[partition].append([UInt8]("garbage".utf8))
          continue
        }
        let offset = Int64(examples[partition].count)
        var bytes = Array(writer.finish(header))
        if kind == 4 { bytes.removeLast(min(bytes.count, 3)) }
        let reader = ExampleReader()
        let readable = bytes.withUnsafeBytes { reader.read($0) }
        if readable {
          if state.accept(reader.header.claim, at: offset) { expected += Int64(count) }
        } else {
          state.skip(offset)
        }
        examples[partition].append(bytes)
      }
    }
    // Garbage records moved no state: the offsets of the reader states follow from the log alone.
  }

  private mutating func append(_ number: Int, to writer: ExampleWriter) {
    let a = random.next() % 5
    let b = random.next() % 3
    let event = Array(#"{"id":"e\#(number)","features":{"a":"a\#(a)","b":"b\#(b)","x":\#(Double(number % 10) / 10)}}"#.utf8)
    let id = Array("e\(number)".utf8)
    id.withUnsafeBytes { id in
      event.withUnsafeBytes { event in
        var example = ExampleView()
        example.id = id
        example.event = event
        example.form = .json
        example.label = (a + b) % 2 == 0 ? 1 : 0
        example.labelTimeMilliseconds = Int64(number) * 1_000
        example.featureOffset = Int64(number)
        example.labelOffset = Int64(number)
        writer.append(example)
      }
    }
  }
}
