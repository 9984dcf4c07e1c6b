import Events
import Model
import Testing

@testable import Learning

/// One joiner, step by step.
@Suite struct JoinerTests {
  /// A joiner on empty logs, live, with what came out of it.
  private final class Bench {
    let joiner: Joiner
    var batches: [(header: ExampleBatchHeader, examples: [Example])] = []
    var deadLetters: [(offset: Int64, problem: Joiner.LabelProblem, record: String)] = []
    var nanoseconds: Int64 = 0
    var features: Int64 = 0
    var labels: Int64 = 0
    private var records: [[UInt8]] = []
    private var returned: Int64 = 0

    struct Example: Equatable {
      var id: String
      var label: Double
      var weight: Double
      var feature: Int64
      var labelOffset: Int64
      var expired: Bool
    }

    init(_ change: (inout JoinerSettings) -> Void = { _ in }) {
      var settings = JoinerSettings(join: JoinSettings(windowMilliseconds: 10_000, onExpiry: .negative))
      settings.coverMilliseconds = 1_000_000
      change(&settings)
      joiner = Joiner(settings, seed: 1)
      joiner.onBatch = { [unowned self] batch, record in
        records.append(Array(record))
        let reader = ExampleReader()
        guard reader.read(record) else {
          Issue.record("\(reader.problem())")
          return
        }
        var examples: [Example] = []
        var view = ExampleView()
        while reader.next(&view) {
          examples.append(
            Example(
              id: String(decoding: view.id, as: UTF8.self), label: view.label, weight: view.weight, feature: view.featureOffset,
              labelOffset: view.labelOffset, expired: view.expired))
        }
        #expect(reader.header == batch.header)
        batches.append((batch.header, examples))
      }
      joiner.onDeadLetter = { [unowned self] offset, problem, _, record in
        deadLetters.append((offset, problem, String(decoding: record, as: UTF8.self)))
      }
      joiner.tell(nowNanoseconds: 0, wallMilliseconds: 2_000_000_000_000)
      joiner.start(.init(examples: 0..<0, features: 0..<0, labels: 0..<0), nowNanoseconds: 0)
      clear()
      #expect(joiner.phase == .live)
    }

    func clear() {
      joiner.seekExamples = nil
      joiner.seekFeatures = nil
      joiner.seekLabels = nil
    }

    func feature(_ id: String, _ time: Int64, label: Double? = nil, size: Int = 0) {
      let text = Array("feature \(id)".utf8) + [UInt8](repeating: 32, count: size)
      Array(id.utf8).withUnsafeBytes { id in
        text.withUnsafeBytes {
          joiner.feature(offset: features, id: id, timeMilliseconds: time, form: .json, label: label, record: $0)
        }
      }
      features += 1
    }

    func label(_ id: String, _ time: Int64, _ value: Double = 1) {
      Array(id.utf8).withUnsafeBytes { id in
        Array("label \(String(decoding: id, as: UTF8.self))".utf8).withUnsafeBytes {
          joiner.label(offset: labels, id: id, timeMilliseconds: time, value: value, weight: 1, form: .json, record: $0)
        }
      }
      labels += 1
    }

    func turn(after milliseconds: Int64 = 1) {
      nanoseconds += milliseconds * 1_000_000
      joiner.tell(nowNanoseconds: nanoseconds, wallMilliseconds: 2_000_000_000_000)
      joiner.turn(nowNanoseconds: nanoseconds)
    }

    /// The log gives back what was appended.
    func giveBack() {
      while returned < Int64(records.count) {
        records[Int(returned)].withUnsafeBytes { joiner.examples(offset: returned, value: $0, contentType: nil) }
        returned += 1
      }
    }

    var examples: [Example] { batches.flatMap(\.examples) }
  }

  @Test func matchesInEitherOrderInTheTurnThatBringsTheSecond() {
    let bench = Bench()
    bench.feature("a", 1_000)
    bench.label("b", 1_500)
    bench.turn()
    #expect(bench.examples.isEmpty)
    bench.label("a", 2_000, 1)
    bench.feature("b", 1_200)
    bench.turn()
    #expect(
      bench.examples == [
        .init(id: "a", label: 1, weight: 1, feature: 0, labelOffset: 1, expired: false),
        .init(id: "b", label: 1, weight: 1, feature: 1, labelOffset: 0, expired: false),
      ])
    #expect(bench.batches.count == 1)
    let header = bench.batches[0].header
    #expect(header.featuresFrom == 0 && header.featuresTo == 2 && header.labelsFrom == 0 && header.labelsTo == 2)
    #expect(header.follows == 0 && header.batch != 0 && header.rebuildExamples == -1)
    #expect(bench.joiner.counts.matched == 2 && bench.joiner.counts.earlyLabels == 1)
  }

  @Test func duplicatesCountOnceWithinTheWindow() {
    let bench = Bench()
    bench.feature("a", 1_000)
    bench.feature("a", 1_000)
    bench.label("a", 2_000)
    bench.label("a", 2_000)
    bench.feature("a", 1_000)
    bench.turn()
    #expect(bench.examples.count == 1)
    #expect(bench.joiner.counts.duplicateFeatures == 2 && bench.joiner.counts.duplicateLabels == 1)
  }

  @Test func windowsEndByEventTime() {
    let bench = Bench()
    bench.feature("late", 5_000)
    bench.feature("early", 1_000)
    bench.feature("clock", 30_000)
    bench.label("nobody", 1_000)
    bench.label("clock", 30_000)
    bench.turn()
    #expect(bench.examples.map(\.id).sorted() == ["clock", "early", "late"])
    #expect(bench.examples.filter(\.expired).map(\.id).sorted() == ["early", "late"])
    #expect(bench.deadLetters.map(\.problem) == [.withoutEvent])
    #expect(bench.deadLetters.first?.record == "label nobody")
    #expect(bench.joiner.counts.expired == 2 && bench.joiner.counts.labelsWithoutEvent == 1)
    // After its window a label is alone, and a feature too late.
    bench.label("early", 4_000)
    bench.feature("early", 1_000)
    bench.turn()
    #expect(bench.examples.count == 3)
    #expect(bench.joiner.counts.lateFeatures == 1)
  }

  @Test func featuresAloneDoNotCloseWindowsWhoseLabelsAreStillToBeRead() {
    let bench = Bench()
    bench.feature("a", 1_000)
    bench.feature("b", 100_000)
    bench.turn()
    bench.label("a", 3_000)
    bench.turn()
    #expect(bench.examples.map(\.id) == ["a"])
    #expect(bench.joiner.counts.expired == 0)
  }

  @Test func anIdlePartitionGoesOnAtTheSpeedOfTime() {
    let bench = Bench()
    bench.feature("a", 1_000)
    bench.joiner.reachedFeatures(1)
    bench.joiner.reachedLabels(0)
    bench.turn(after: 9_000)
    #expect(bench.examples.isEmpty)
    bench.turn(after: 2_000)
    #expect(bench.examples.map(\.expired) == [true])
    #expect(bench.batches[0].header.featuresTo == 1)
    // A batch without progress stands in the chain like any other.
    bench.giveBack()
    #expect(bench.joiner.isSettled)
  }

  @Test func wildTimesDoNotCloseWindows() {
    let bench = Bench()
    bench.feature("a", 1_999_999_990_000)
    bench.label("wild", .max)
    bench.feature("wild", .max)
    bench.turn()
    #expect(bench.joiner.counts.clampedTimes == 2)
    #expect(bench.joiner.watermarkMilliseconds == 2_000_000_600_000)
    let backwards = Bench()
    backwards.feature("old", .min)
    backwards.label("old", .min)
    backwards.feature("now", 5_000)
    backwards.label("now", 5_000)
    backwards.turn()
    #expect(backwards.examples.count == 2)
  }

  @Test func theOldestGoEarlyWhenTooManyWait() {
    let bench = Bench { $0.join.waitingEventsMax = 3 }
    for n in 0..<5 { bench.feature("f\(n)", 1_000) }
    for n in 0..<5 { bench.label("l\(n)", 1_000) }
    bench.turn()
    #expect(bench.examples.map(\.id) == ["f0", "f1"])
    #expect(bench.joiner.counts.evictedEvents == 2 && bench.joiner.counts.evictedLabels == 2)
    #expect(bench.deadLetters.map(\.problem) == [.waitingFull, .waitingFull])
    bench.label("f0", 1_100)
    bench.label("f4", 1_100)
    bench.turn()
    #expect(bench.examples.map(\.id) == ["f0", "f1", "f4"])
    #expect(bench.deadLetters.last?.problem == .afterExpiry)
    #expect(bench.joiner.waitingEvents == 2)
  }

  @Test func negativesAreSampledByTheirID() {
    let join = JoinSettings(windowMilliseconds: 10_000, onExpiry: .negative, negativesKept: 0.25, seed: 5)
    let bench = Bench { $0.join = join }
    for n in 0..<400 {
      bench.feature("e\(n)", 1_000)
      bench.label("e\(n)", 1_000, n % 2 == 0 ? 0 : 1)
    }
    bench.turn()
    let negatives = bench.examples.filter { $0.label == 0 }
    #expect(bench.examples.count - negatives.count == 200)
    #expect(negatives.allSatisfy { $0.weight == 4 })
    let expected = (0..<400).filter { $0 % 2 == 0 }.map { "e\($0)" }.filter { id in Array(id.utf8).withUnsafeBytes { join.keepsNegative(id: $0) } }
    #expect(negatives.map(\.id) == expected)
    #expect(bench.joiner.counts.sampledOut == 200 - expected.count)
  }

  @Test func aLabelGivenWithTheEventDecidesAtOnce() {
    let bench = Bench()
    bench.feature("a", 1_000, label: 1)
    bench.label("a", 1_500, 0)
    bench.turn()
    #expect(bench.examples == [.init(id: "a", label: 1, weight: 1, feature: 0, labelOffset: -1, expired: false)])
    #expect(bench.joiner.counts.duplicateLabels == 1)
  }

  @Test func batchesAreBoundedAndTile() {
    let bench = Bench {
      $0.batchExamplesMax = 4
      $0.batchBytesMax = 2_000
    }
    for n in 0..<10 {
      bench.feature("e\(n)", 1_000, size: n == 7 ? 3_000 : 0)
      bench.label("e\(n)", 1_000)
    }
    bench.turn()
    #expect(bench.batches.map(\.examples.count) == [4, 3, 1, 2])
    for (before, after) in zip(bench.batches, bench.batches.dropFirst()) {
      #expect(after.header.featuresFrom == before.header.featuresTo && after.header.labelsFrom == before.header.labelsTo)
      #expect(after.header.follows == before.header.batch)
    }
    // The range of a batch ends before the record whose example did not fit.
    #expect(bench.batches[0].header.labelsTo == 4 && bench.batches[0].header.featuresTo == 5)
    #expect(bench.joiner.inFlightBatches == 4)
    bench.giveBack()
    #expect(bench.joiner.inFlightBatches == 0 && bench.joiner.isSettled)
  }

  @Test func readingStopsWhileTooManyBatchesAreOnTheWay() {
    let bench = Bench {
      $0.inFlightBatchesMax = 2
      $0.batchExamplesMax = 1
    }
    for n in 0..<2 {
      bench.feature("e\(n)", 1_000)
      bench.label("e\(n)", 1_000)
      bench.turn()
    }
    #expect(!bench.joiner.readsFeatures && !bench.joiner.readsLabels)
    bench.giveBack()
    #expect(bench.joiner.readsFeatures && bench.joiner.readsLabels)
  }

  @Test func aBatchThatIsNotSeenIsGivenUp() {
    let bench = Bench { $0.unseenMilliseconds = 500 }
    bench.feature("a", 1_000)
    bench.label("a", 1_000)
    bench.turn()
    bench.turn(after: 499)
    #expect(bench.joiner.phase == .live)
    bench.turn(after: 1)
    #expect(bench.joiner.phase == .idle && bench.joiner.counts.restarts == 1)
    #expect(bench.joiner.startNanoseconds > bench.nanoseconds)
  }

  @Test func progressWithoutDecisionsIsCoveredNowAndThen() {
    let bench = Bench {
      $0.coverMilliseconds = 100
      $0.coverOffsetsMax = 5
    }
    bench.feature("a", 1_000)
    bench.turn(after: 50)
    #expect(bench.batches.isEmpty)
    bench.turn(after: 60)
    #expect(bench.batches.count == 1 && bench.batches[0].header.featuresTo == 1 && bench.batches[0].header.rebuildFeatures == 0)
    bench.turn(after: 1_000)
    #expect(bench.batches.count == 1, "nothing new, nothing to cover")
    for n in 0..<5 { bench.feature("b\(n)", 1_000) }
    bench.turn()
    #expect(bench.batches.count == 2)
    #expect(bench.joiner.counts.coveringBatches == 2)
  }

  @Test func theSourceThatIsFarAheadWaits() {
    let bench = Bench()
    bench.label("x", 1_000)
    for n in 0..<10 { bench.feature("f\(n)", Int64(n) * 1_000) }
    bench.turn()
    #expect(!bench.joiner.readsFeatures && bench.joiner.readsLabels)
    bench.label("y", 8_500)
    bench.turn()
    #expect(bench.joiner.readsFeatures)
    bench.label("z", 80_000)
    bench.turn()
    #expect(bench.joiner.readsFeatures && !bench.joiner.readsLabels)
    // Features have been read to their end: the labels need not wait for more.
    bench.joiner.reachedFeatures(10)
    bench.turn()
    #expect(bench.joiner.readsLabels)
  }

  @Test func tooLargeEventsAreCountedAndCovered() {
    let bench = Bench { $0.eventBytesMax = 100 }
    bench.feature("a", 1_000, size: 200)
    bench.label("a", 1_000)
    bench.joiner.finish()
    #expect(bench.examples.isEmpty && bench.joiner.counts.skippedFeatures == 1)
    #expect(bench.batches[0].header.featuresTo == 1)
  }

  @Test func aReplacedTopicIsNoticed() {
    let bench = Bench()
    bench.feature("a", 1_000)
    bench.label("a", 1_000)
    bench.turn()
    var record: [UInt8] = []
    let writer = ExampleWriter()
    writer.begin()
    record = Array(writer.finish(bench.batches[0].header))
    let other = Bench()
    other.joiner.interrupt(nowNanoseconds: 1)
    // Shorter than what is covered.
    let joiner = Joiner(JoinerSettings(join: JoinSettings()), seed: 2)
    joiner.tell(nowNanoseconds: 0, wallMilliseconds: 2_000_000_000_000)
    joiner.start(.init(examples: 0..<1, features: 0..<0, labels: 0..<1), nowNanoseconds: 0)
    for _ in 0..<2 {
      joiner.seekExamples = nil
      record.withUnsafeBytes { joiner.examples(offset: 0, value: $0, contentType: nil) }
    }
    #expect(joiner.failure == .sourceEnds(topic: .features, at: 0, covered: 1))
    // As long, but another record.
    joiner.start(.init(examples: 0..<1, features: 0..<1, labels: 0..<1), nowNanoseconds: joiner.startNanoseconds)
    for _ in 0..<2 {
      joiner.seekExamples = nil
      record.withUnsafeBytes { joiner.examples(offset: 0, value: $0, contentType: nil) }
    }
    joiner.seekFeatures = nil
    let id = Array("a".utf8)
    id.withUnsafeBytes { joiner.feature(offset: 0, id: $0, timeMilliseconds: 1_000, form: .json, record: $0) }
    #expect(joiner.failure == .sourceReplaced(topic: .features, offset: 0))
    // Batches that are needed are gone.
    joiner.start(.init(examples: 1..<1, features: 0..<1, labels: 0..<1), nowNanoseconds: joiner.startNanoseconds)
    #expect(joiner.failure == .examplesTrimmed(needed: 0, oldest: 1))
  }

  @Test func recordsThatWereTrimmedAreCountedAndCovered() {
    let joiner = Joiner(JoinerSettings(join: JoinSettings()), seed: 2)
    joiner.tell(nowNanoseconds: 0, wallMilliseconds: 2_000_000_000_000)
    joiner.start(.init(examples: 0..<0, features: 500..<900, labels: 7..<7), nowNanoseconds: 0)
    #expect(joiner.phase == .live && joiner.seekFeatures == 500 && joiner.seekLabels == 7)
    #expect(joiner.counts.lostFeatures == 500 && joiner.counts.lostLabels == 7)
  }
}

/// The pieces below a joiner.
@Suite struct JoinerTableTests {
  @Test(arguments: UInt64(1)...6)
  func agreesWithADictionary(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let table = JoinerTable(capacity: 16)
    var model: [String: (offset: Int64, payload: [UInt8])] = [:]
    for step in 0..<6_000 {
      let id = "id-\(Int.random(in: 0..<600, using: &random))"
      Array(id.utf8).withUnsafeBytes { bytes in
        let hash = JoinerTable.hash(bytes)
        let slot = table.find(bytes, hash: hash)
        #expect((slot >= 0) == (model[id] != nil), "seed \(seed) step \(step)")
        if slot < 0 {
          let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: Int.random(in: 0...9_000, using: &random))
          let new = table.insert(bytes, hash: hash)
          table.entries[Int(new)].offset = Int64(step)
          table.entries[Int(new)].payload = payload.withUnsafeBytes { table.payloads.store($0, owner: new) }
          table.link(new, as: .waiting)
          table.schedule(new, tick: Int64(step))
          model[id] = (Int64(step), payload)
        } else if random.chance(0.6) {
          #expect(table.payloads.bytes(table.entries[Int(slot)].payload).elementsEqual(model[id]?.payload ?? []))
          table.remove(slot)
          model[id] = nil
        }
      }
      if step % 7 == 0 { table.compact() }
      if step % 97 == 0 {
        let oldest = model.values.map(\.offset).min()
        #expect(table.waiting.first < 0 ? oldest == nil : table.entries[Int(table.waiting.first)].offset == oldest)
      }
    }
    #expect(table.count == model.count && table.waiting.count == model.count && table.features.count == model.count)
    // Sparse chunks are emptied.
    for _ in 0..<500 { table.compact() }
    #expect(table.payloads.chunkedBytes <= max(4 << 18, 3 * table.payloads.liveBytes))
    for (id, value) in model {
      Array(id.utf8).withUnsafeBytes { bytes in
        let slot = table.find(bytes, hash: JoinerTable.hash(bytes))
        #expect(slot >= 0 && table.payloads.bytes(table.entries[Int(slot)].payload).elementsEqual(value.payload))
      }
    }
  }

  @Test(arguments: UInt64(1)...6)
  func theWheelCallsEachOnceAndNeverEarly(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let table = JoinerTable(capacity: 16)
    var due: [Int32: Int64] = [:]
    var now: Int64 = Int64.random(in: -1_000_000...1_000_000, using: &random)
    _ = table.close(through: now) { _ in true }
    for step in 0..<3_000 {
      for number in 0..<Int.random(in: 0...3, using: &random) {
        Array("\(step)-\(number)".utf8).withUnsafeBytes { bytes in
          let slot = table.insert(bytes, hash: JoinerTable.hash(bytes))
          table.entries[Int(slot)].offset = Int64(step)
          table.link(slot, as: .waiting)
          let tick = now + 1 + Int64.random(in: 0...(random.chance(0.1) ? 30_000 : 500), using: &random)
          table.schedule(slot, tick: tick)
          due[slot] = tick
        }
      }
      now += Int64.random(in: 0...(random.chance(0.02) ? 20_000 : 20), using: &random)
      var last = Int64.min
      var left = Int.random(in: 1...4, using: &random)
      while !table.close(
        through: now,
        { slot in
          let tick = due.removeValue(forKey: slot) ?? .max
          #expect(tick <= now, "seed \(seed): too early")
          // After a jump over more than a turn of the wheel, neighbours may swap.
          last = max(last, tick)
          table.remove(slot)
          left -= 1
          return left != 0
        })
      { left = 3 }
      #expect(due.values.allSatisfy { $0 > now }, "seed \(seed): missed")
    }
    #expect(table.count == due.count)
  }
}
