import Model
import Testing

@testable import UpdateLog

/// A whole protocol in one thread, from one seed: a log with two shards, three trainers that fight for two sources, observers that
/// restart and restore, a network that loses, repeats and reorders, an operator who freezes, thaws and skips, a trainer of another
/// specification, and one that writes nonsense. The count family says whether every example counted exactly once.
private struct Simulation {
  static let shards = 2
  static let sources: [Int32] = [0, 1]
  static let examplesPerSource: Int64 = 120

  let specification = counting(shards: Simulation.shards)
  let foreign = ModelSpecification(name: "other", family: .count, shards: Simulation.shards)
  let rules: AcceptanceRules
  var random: SeededGenerator
  let writer = UpdateRecordWriter(capacityBytes: 4096)

  /// One partition for each shard: records at offsets with gaps.
  var log: [[(offset: Int64, bytes: [UInt8])]] = [[], []]
  var trainers: [SimulatedTrainer] = []
  var observers: [Observer] = []
  /// Records sent and not yet appended: they may arrive late, twice, in another order, or never.
  var network: [(shard: Int, bytes: [UInt8])] = []
  var violations: [String] = []

  struct Observer {
    var replicas: [ShardReplica]
    var at = [0, 0]  // index into the log
  }

  /// A state machine that reads a source and appends counts: what the rule has to survive, not how the real one works.
  struct SimulatedTrainer {
    var name: UInt64
    var replica: Observer
    /// Next offset to cover for each source and shard; nil: not started.
    var next: [Int32: [Int64]] = [:]
    var pausedFor = 0
    var crashedFor = 0
    /// Steps since a record of its own was last seen accepted, by source.
    var quiet: [Int32: Int] = [:]
    var ignoresFreeze = false
  }

  init(seed: UInt64, rules: AcceptanceRules) {
    random = SeededGenerator(seed: seed)
    self.rules = rules
    for _ in 0..<2 { observers.append(freshObserver()) }
    for name in 1...3 { trainers.append(SimulatedTrainer(name: UInt64(name), replica: freshObserver(), ignoresFreeze: name == 3)) }
    for shard in 0..<Self.shards { append(shard, Array(writer.spec(specification))) }
  }

  func freshObserver() -> Observer {
    Observer(replicas: (0..<Self.shards).map { shard in
      let replica = ShardReplica(specification: specification, shard: shard)
      replica.acceptance.rules = rules
      return replica
    })
  }

  mutating func append(_ shard: Int, _ bytes: [UInt8]) {
    let offset = (log[shard].last?.offset ?? -1) + 1 + Int64(random.chance(10) ? random.below(3) : 0)
    log[shard].append((offset, bytes))
  }

  // MARK: the world

  /// The ids that an example adds 1 to.
  static func ids(_ source: Int32, _ offset: Int64) -> [UInt64] {
    var generator = SeededGenerator(seed: UInt64(source) << 32 | UInt64(offset))
    return Array(Set((0...generator.below(3)).map { _ in generator.next() % 40 })).sorted()
  }

  mutating func deliver(_ observer: inout Observer, most: Int) {
    for shard in 0..<Self.shards {
      var left = most
      while left > 0, observer.at[shard] < log[shard].count {
        let record = log[shard][observer.at[shard]]
        observer.replicas[shard].apply(record.bytes, offset: record.offset)
        observer.at[shard] += 1
        left -= 1
      }
    }
  }

  /// Counts of `[next, to)` of a source for one shard.
  mutating func record(_ trainer: SimulatedTrainer, _ source: Int32, shard: Int, from: Int64, to: Int64, specHash: UInt64, each: Int64 = 1) -> [UInt8] {
    var sums: [UInt64: Int64] = [:]
    for offset in from..<max(from, to) {
      for id in Self.ids(source, offset) where RowID.shard(of: id, count: Self.shards) == shard { sums[id, default: 0] += each }
    }
    let rows = sums.sorted { $0.key < $1.key }
    let replica = trainer.replica.replicas[shard]
    let header = UpdateHeader(
      kind: .update, specHash: specHash, epoch: replica.acceptance.epoch, sourcePartition: source, from: from,
      to: SourceProgress(offset: to, featuresTo: to, labelsTo: to), trainer: trainer.name, basis: (replica.nextOffset, replica.stateHash),
      examples: Int32(clamping: to - from))
    return Array(
      writer.counts(header, rows: rows.count) { ids, counts in
        for (i, row) in rows.enumerated() {
          ids[i] = row.key
          counts[i] = row.value
        }
        return rows.count
      })
  }

  mutating func step(_ trainer: inout SimulatedTrainer) {
    if trainer.crashedFor > 0 {
      trainer.crashedFor -= 1
      if trainer.crashedFor == 0 {
        // Comes back with nothing but the log.
        trainer = SimulatedTrainer(name: trainer.name &+ 100, replica: freshObserver(), ignoresFreeze: trainer.ignoresFreeze)
      }
      return
    }
    if trainer.pausedFor > 0 {
      trainer.pausedFor -= 1
      return
    }
    if random.chance(2) { trainer.crashedFor = 1 + random.below(10) }
    if random.chance(5) { trainer.pausedFor = 1 + random.below(20) }
    var replica = trainer.replica
    deliver(&replica, most: 1 + random.below(4))
    trainer.replica = replica
    let source = Self.sources[random.below(Self.sources.count)]
    work(&trainer, source)
  }

  mutating func work(_ trainer: inout SimulatedTrainer, _ source: Int32) {
    let replicas = trainer.replica.replicas
    let isFrozen = replicas.contains { $0.acceptance.isFrozen }
    if isFrozen, !trainer.ignoresFreeze { return }
    let progress = replicas.map { $0.acceptance.progress(of: source).offset }
    var next = trainer.next[source] ?? progress
    trainer.quiet[source, default: 0] += 1
    if trainer.quiet[source]! > 12 || zip(next, progress).contains(where: { $0 < $1 }) {
      // What was sent is lost, or others were faster: start again from what the replicas say.
      next = progress
      trainer.quiet[source] = 0
    }
    let start = next.min()!
    let to = min(Self.examplesPerSource, start + 1 + Int64(random.below(6)))
    if to > start {
      for shard in 0..<Self.shards where next[shard] < to {
        send(shard, record(trainer, source, shard: shard, from: next[shard], to: to, specHash: specification.hash))
        next[shard] = to
      }
      trainer.quiet[source] = 0
    }
    trainer.next[source] = next
  }

  mutating func send(_ shard: Int, _ bytes: [UInt8]) {
    if random.chance(8) { return }
    network.append((shard, bytes))
    if random.chance(10) { network.append((shard, bytes)) }
  }

  /// Appends one of the records on their way, seldom out of order, seldom again.
  mutating func carry() {
    guard !network.isEmpty else { return }
    let at = random.chance(85) ? 0 : random.below(network.count)
    let record = network[at]
    append(record.shard, record.bytes)
    if random.chance(95) { network.remove(at: at) }
  }

  mutating func disturb() {
    let who = trainers[random.below(trainers.count)]
    let source = Self.sources[random.below(Self.sources.count)]
    let shard = random.below(Self.shards)
    let replica = who.replica.replicas[shard]
    let here = replica.acceptance.progress(of: source).offset
    switch random.below(6) {
    case 0:
      // A trainer of another specification, whose ranges fit.
      network.append((shard, record(who, source, shard: shard, from: here, to: min(Self.examplesPerSource, here + 2), specHash: foreign.hash, each: 1000)))
    case 1:
      // Rows with an empty range: accepted, they could be accepted for ever.
      var nonsense = UpdateHeader(kind: .update, specHash: specification.hash, epoch: replica.acceptance.epoch, sourcePartition: source, from: here)
      nonsense.to = SourceProgress(offset: here)
      network.append((shard, Array(writer.counts(nonsense, rows: 1) { ids, counts in
        ids[0] = 1
        counts[0] = 1000
        return 1
      })))
    case 2: append(shard, Array("not a record".utf8))
    case 3: network.append((shard, Array(writer.control(UpdateHeader(kind: .beacon, specHash: specification.hash)))))
    case 4:
      for s in 0..<Self.shards {
        network.append((s, Array(writer.control(UpdateHeader(kind: .freeze, specHash: specification.hash, epoch: who.replica.replicas[s].acceptance.epoch)))))
      }
    default: thaw(source)
    }
  }

  mutating func thaw(_ source: Int32) {
    let who = trainers[random.below(trainers.count)]
    for s in 0..<Self.shards {
      let acceptance = who.replica.replicas[s].acceptance
      var sources = [ThawSource(partition: source)]
      if random.chance(40) {
        // Forward is a skip of examples. Backward must be refused.
        let to = acceptance.progress(of: source).offset + (random.chance(50) ? 3 : -4)
        if to >= 0, to <= Self.examplesPerSource { sources.append(ThawSource(partition: source, skipTo: SourceProgress(offset: to, featuresTo: to, labelsTo: to))) }
      }
      network.append((s, Array(writer.control(UpdateHeader(kind: .thaw, specHash: specification.hash, epoch: acceptance.epoch), .thaw(sources)))))
    }
  }

  // MARK: run and check

  mutating func run() {
    for _ in 0..<1500 {
      let index = random.below(trainers.count)
      var trainer = trainers[index]
      step(&trainer)
      trainers[index] = trainer
      for _ in 0..<random.below(4) { carry() }
      if random.chance(4) { disturb() }
      let observer = random.below(observers.count)
      var moved = observers[observer]
      if random.chance(3) { moved = freshObserver() }  // restarts from the beginning of the log
      deliver(&moved, most: 1 + random.below(6))
      observers[observer] = moved
    }
    settle()
    check()
  }

  /// No more faults: one trainer thaws what is frozen and goes to the end.
  mutating func settle() {
    network = []
    var last = SimulatedTrainer(name: 999, replica: freshObserver())
    for _ in 0..<400 {
      var replica = last.replica
      deliver(&replica, most: .max)
      last.replica = replica
      for s in 0..<Self.shards where replica.replicas[s].acceptance.isFrozen {
        append(s, Array(writer.control(UpdateHeader(kind: .thaw, specHash: specification.hash, epoch: replica.replicas[s].acceptance.epoch), .thaw([]))))
      }
      deliver(&replica, most: .max)
      var done = true
      for source in Self.sources {
        for s in 0..<Self.shards {
          let from = replica.replicas[s].acceptance.progress(of: source).offset
          let to = min(Self.examplesPerSource, from + 10)
          if to > from {
            done = false
            append(s, record(last, source, shard: s, from: from, to: to, specHash: specification.hash))
          }
        }
      }
      last.replica = replica
      if done { return }
    }
    violations.append("progress never came to the end of the source")
  }

  /// Reads the log once more with an account of its own: what the rule is for, not how it is written.
  mutating func check() {
    var reference = freshObserver()
    for shard in 0..<Self.shards {
      let replica = reference.replicas[shard]
      var covered: [Int32: [Int: Int]] = [:]  // source -> offset -> times covered
      var skipped: [Int32: Set<Int>] = [:]
      var controls: UInt32 = 0
      var frozen = false
      for (offset, bytes) in log[shard] {
        let before = replica.acceptance
        let outcome = replica.apply(bytes, offset: offset)
        guard case .accepted(let kind) = outcome else { continue }
        guard let header = bytes.withUnsafeBytes({ try? UpdateRecordView.parse($0).header }) else { continue }
        switch kind {
        case .update:
          if header.epoch != controls { violations.append("shard \(shard): computed in epoch \(header.epoch), applied in \(controls)") }
          if frozen { violations.append("shard \(shard): progress moved under a freeze") }
          for o in Int(header.from)..<max(Int(header.from), Int(header.to.offset)) { covered[header.sourcePartition, default: [:]][o, default: 0] += 1 }
        case .freeze, .thaw:
          if header.epoch != controls { violations.append("shard \(shard): a control record of epoch \(header.epoch) in \(controls)") }
          frozen = kind == .freeze
          controls += 1
          for source in Self.sources {
            let from = before.progress(of: source).offset
            let to = replica.acceptance.progress(of: source).offset
            if to < from { violations.append("shard \(shard): progress went back from \(from) to \(to)") }
            for o in Int(from)..<max(Int(from), Int(to)) { skipped[source, default: []].insert(o) }
          }
        case .spec, .beacon, .skip, .reset, .expire: break
        }
      }
      reference.at[shard] = log[shard].count
      var expected: [UInt64: Int64] = [:]
      for source in Self.sources {
        for o in 0..<Int(Self.examplesPerSource) {
          let times = covered[source]?[o] ?? 0
          let isSkipped = skipped[source]?.contains(o) ?? false
          if times + (isSkipped ? 1 : 0) != 1 { violations.append("shard \(shard): example \(source)/\(o) covered \(times) times, skipped: \(isSkipped)") }
          if isSkipped { continue }
          for id in Self.ids(source, Int64(o)) where RowID.shard(of: id, count: Self.shards) == shard { expected[id, default: 0] += 1 }
        }
      }
      var found: [UInt64: Int64] = [:]
      replica.forEachRow { if $0.count != 0 { found[$0.id] = $0.count } }
      if found != expected { violations.append("shard \(shard): sums differ from the examples") }
      if replica.stateHash != replica.recomputedStateHash() { violations.append("shard \(shard): rolling hash") }
      if let divergence = replica.divergence { violations.append("shard \(shard): \(divergence)") }
    }
    for index in observers.indices {
      var observer = observers[index]
      deliver(&observer, most: .max)
      for shard in 0..<Self.shards {
        let a = observer.replicas[shard]
        let b = reference.replicas[shard]
        if a.stateHash != b.stateHash || a.nextOffset != b.nextOffset || a.acceptance != b.acceptance {
          violations.append("observer \(index), shard \(shard): other bits at the same offset")
        }
      }
    }
  }
}

@Suite struct AcceptanceSimulationTests {
  @Test(arguments: 0..<12)
  func everyExampleCountsOnceWhateverHappens(seed: Int) {
    print("acceptance simulation: seed \(seed)")
    var simulation = Simulation(seed: UInt64(seed), rules: .all)
    simulation.run()
    #expect(simulation.violations.isEmpty, "seed \(seed): \(simulation.violations.prefix(5))")
  }

  /// The faults reach every rule: over all seeds each of these drops happened.
  @Test func theFaultsReachTheRules() {
    var dropped = Set<DropReason>()
    for seed in 0..<6 {
      var simulation = Simulation(seed: UInt64(seed), rules: .all)
      simulation.run()
      for observer in simulation.observers {
        for replica in observer.replicas { for reason in DropReason.allCases where replica.counts.dropped(reason) > 0 { dropped.insert(reason) } }
      }
    }
    #expect(dropped.isSuperset(of: [.specMismatch, .epochMismatch, .stale, .gap, .emptyRange, .frozen, .notFrozen, .backwards]), "\(dropped)")
  }

  /// Each rule taken out is missed: by some seed among a few, never more than these.
  @Test(arguments: AcceptanceRules.each.map(\.0))
  func aRuleTakenOutIsMissed(name: String) throws {
    let rule = try #require(AcceptanceRules.each.first { $0.0 == name }?.1)
    for seed in 0..<20 {
      var simulation = Simulation(seed: UInt64(seed), rules: AcceptanceRules.all.subtracting(rule))
      simulation.run()
      if let violation = simulation.violations.first {
        print("without \(name): seed \(seed) finds: \(violation)")
        return
      }
    }
    Issue.record("20 seeds did not miss the rule \(name)")
  }
}
