import ArgumentParser
import Events
import Foundation
import Learning
import Model
import Telemetry
import UpdateLog

/// `millrace bench train`: examples records through a trainer, its update records through the replicas beside it, in one thread and without
/// Kafka. Speed and loss together, with so many records on their way as at full speed, and beside strictly sequential learning.
struct BenchTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Trainer and replicas in memory: examples a second, and the loss beside sequential learning.")

  @Option(help: ArgumentHelp("Examples.", valueName: "count"))
  var examples = 200_000

  @Option(help: ArgumentHelp("Examples in one record.", valueName: "count"))
  var batch = 256

  @Option(help: ArgumentHelp("Records of the trainer on their way while it goes on.", valueName: "count"))
  var inFlight = 4

  @Option(help: ArgumentHelp("Shards of the model.", valueName: "count"))
  var shards = 2

  @Option(help: ArgumentHelp("Rounds; the median counts.", valueName: "count"))
  var rounds = 3

  func validate() throws {
    guard (1...10_000_000).contains(examples), (1...10_000).contains(batch), (0...10_000).contains(inFlight), (1...64).contains(shards),
      (1...100).contains(rounds)
    else { throw ValidationError("a count is out of range") }
  }

  func run() throws {
    let specification = ModelSpecification(
      name: "bench", family: .linear(loss: .logistic),
      features: (0..<13).map { .categorical("c\($0)") } + (0..<6).map { .numeric("n\($0)") },
      learning: LearningSettings(inFlightExamplesMax: max(1, batch * (inFlight + 1))), shards: shards)
    let events = events()
    let sequential = train(specification, events, perRecord: 1, inFlight: 0)
    var rates: [Double] = []
    var loss = 0.0
    for _ in 0..<rounds {
      let result = train(specification, events, perRecord: batch, inFlight: inFlight)
      rates.append(Double(events.count) / result.seconds)
      loss = result.loss
    }
    rates.sort()
    print("examples                    \(events.count) of 19 features, \(shards) shards")
    print("one by one                  \(Int(Double(events.count) / sequential.seconds)) examples/s, loss \(format(sequential.loss))")
    print("records of \(batch), \(inFlight) on their way  \(Int(rates[rates.count / 2])) examples/s, loss \(format(loss))")
    print("loss beside sequential      \(format(loss - sequential.loss))")
  }

  private func format(_ value: Double) -> String { String(format: "%.5f", value) }

  private func events() -> [(event: [UInt8], label: Double)] {
    var state: UInt64 = 42
    func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
    let cardinalities = [16, 3, 105, 4_000, 5_000, 20, 12, 220, 60, 7, 365, 1_000, 8_000]
    return (0..<examples).map { index in
      var sum = -1.0
      var fields: [String] = []
      for (feature, cardinality) in cardinalities.enumerated() {
        // Skewed, as values are.
        let uniform = Double(next() >> 11) * 0x1p-53
        let value = Int(Double(cardinality) * uniform * uniform)
        fields.append("\"c\(feature)\":\"v\(value)\"")
        sum += Double((value &* 2_654_435_761) >> 7 & 255) / 255 - 0.5
      }
      for feature in 0..<6 {
        let value = Double(next() >> 11) * 0x1p-53
        fields.append("\"n\(feature)\":\(String(format: "%.3f", value))")
        sum += (value - 0.5) * Double(feature - 2) * 0.3
      }
      let label = Double(next() >> 11) * 0x1p-53 < 1 / (1 + exp(-sum)) ? 1.0 : 0
      return (Array("{\"id\":\"e\(index)\",\"features\":{\(fields.joined(separator: ","))}}".utf8), label)
    }
  }

  private func records(_ events: [(event: [UInt8], label: Double)], perRecord: Int) -> [[UInt8]] {
    let writer = ExampleWriter()
    var records: [[UInt8]] = []
    var from = 0
    while from < events.count {
      let to = min(events.count, from + perRecord)
      writer.begin()
      for index in from..<to {
        withUnsafeBytes(of: UInt64(index)) { id in
          events[index].event.withUnsafeBytes { event in
            var example = ExampleView()
            example.id = id
            example.event = event
            example.label = events[index].label
            example.labelTimeMilliseconds = Int64(index) * 1_000
            writer.append(example)
          }
        }
      }
      var header = ExampleBatchHeader()
      (header.featuresFrom, header.featuresTo) = (Int64(from), Int64(to))
      (header.labelsFrom, header.labelsTo) = (Int64(from), Int64(to))
      (header.batch, header.follows) = (UInt64(to), UInt64(from))
      records.append(Array(writer.finish(header)))
      from = to
    }
    return records
  }

  private func train(
    _ specification: ModelSpecification, _ events: [(event: [UInt8], label: Double)], perRecord: Int, inFlight: Int
  ) -> (seconds: Double, loss: Double) {
    let records = records(events, perRecord: perRecord)
    let set = ReplicaSet(specification: specification)
    var settings = TrainerSettings(specification.learning)
    settings.inFlightExamplesColdMax = settings.inFlightExamplesMax
    let trainer = Trainer(specification: specification, set: set, settings: settings, seed: 1)
    var log: [[[UInt8]]] = Array(repeating: [], count: specification.shards)
    var heads = Array(repeating: 0, count: specification.shards)
    let begin = MonotonicClock.nanoseconds()

    func perform() {
      while let action = trainer.nextAction(nowNanoseconds: begin) {
        if case .append(let shard, _, let bytes) = action { log[shard].append(Array(bytes)) }
      }
    }
    func apply(leaving left: Int) {
      for shard in log.indices {
        while log[shard].count - heads[shard] > left {
          let offset = heads[shard]
          heads[shard] += 1
          log[shard][offset].withUnsafeBytes { bytes in
            guard let record = try? UpdateRecordView.parse(bytes) else { return }
            let accepted = set.shards[shard].apply(record, offset: Int64(offset)).isAccepted
            trainer.observe(shard: shard, record: record, accepted: accepted, nowNanoseconds: begin)
          }
          log[shard][offset] = []
        }
      }
    }

    trainer.assign(partition: 0, nowNanoseconds: begin)
    trainer.tick(nowNanoseconds: begin)
    perform()
    for (offset, record) in records.enumerated() {
      var intake = TrainerIntake.again
      while intake != .taken {
        intake = record.withUnsafeBytes { trainer.take(partition: 0, offset: Int64(offset), record: $0, nowNanoseconds: begin) }
        perform()
        if intake == .full { apply(leaving: 0) }
      }
      trainer.flush(drained: false)
      perform()
      apply(leaving: inFlight)
    }
    trainer.flush(drained: true)
    perform()
    apply(leaving: 0)
    return (Double(MonotonicClock.nanoseconds() - begin) / 1e9, set.validation.meanLoss)
  }
}
