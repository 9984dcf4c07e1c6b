import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

/// `millrace model`: what can be done to a model without serving it.
struct ModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "Create, inspect, checkpoint, restore and verify models.",
    discussion: """
      A model is what its update log makes of it: these commands replay the log (or start from a checkpoint) and look at \
      what comes out. None of them needs a running instance, and all may be used beside one.

      EXAMPLES
        Create the topics of a model:
          millrace model create --file flights.yaml --bootstrap 127.0.0.1:9092
        What does it know?
          millrace model inspect flights.1 --bootstrap 127.0.0.1:9092
        Are log, checkpoints and code of one mind?
          millrace model verify flights.1 --bootstrap 127.0.0.1:9092 --checkpoints ./checkpoints

      EXIT CODES
        0 done, 1 it could not be done or something does not agree, 64 wrong usage.
      """,
    subcommands: [
      ModelCreateCommand.self, ModelInspectCommand.self, ModelCheckpointCommand.self, ModelRestoreCommand.self,
      ModelVerifyCommand.self,
    ])
}

/// What the subcommands share.
struct ModelOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("The model as name.version, for example flights.1.", valueName: "model"))
  var model: String

  @OptionGroup var connection: KafkaConnection

  @Option(help: ArgumentHelp("The model's YAML. Needed when the first record of its log was trimmed away.", valueName: "file"))
  var file: String?

  @Option(help: ArgumentHelp("Directory of checkpoints.", valueName: "directory"))
  var checkpoints: String?

  @Flag(help: "Print JSON.")
  var json = false

  func kafka() throws -> KafkaSettings { try connection.settings(clientID: "millrace-model") }

  func specification() throws -> ModelSpecification {
    guard let file else { return try UpdateLogReplay.specification(identifier: model, kafka: kafka()) }
    let read = try readSpecification(file)
    guard read.identifier == model else {
      throw ValidationError("\(file) describes \(read.identifier), not \(model)")
    }
    return read
  }

  func store(_ specification: ModelSpecification) throws -> CheckpointStore {
    guard let checkpoints else { throw ValidationError("--checkpoints needs a directory") }
    return CheckpointStore(directory: checkpoints, specification: specification)
  }
}

private func readSpecification(_ file: String) throws -> ModelSpecification {
  guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
    throw ValidationError("\(file) cannot be read")
  }
  return try ModelSpecification.parse(yaml: text, file: file)
}

/// Shows how far a replay is, on a terminal.
private struct ReplayBar {
  private let isShown = isatty(STDERR_FILENO) != 0
  private var shown = -1

  mutating func show(_ done: Int64, _ total: Int64) {
    guard isShown, total > 0 else { return }
    let percent = Int(done * 100 / total)
    guard percent != shown else { return }
    shown = percent
    let filled = percent * 40 / 100
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 40 - filled)
    FileHandle.standardError.write(Data("\rreplaying [\(bar)] \(percent) % of \(total) records\(done >= total ? "\n" : "")".utf8))
  }
}

private func hex(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

private func printJSON(_ object: [String: Any]) throws {
  let data = try JSONSerialization.data(withJSONObject: object, options: [.prettyPrinted, .sortedKeys])
  print(String(decoding: data, as: UTF8.self))
}

private func time(milliseconds: Int64) -> String {
  milliseconds == .min ? "-" : Date(timeIntervalSince1970: Double(milliseconds) / 1_000).ISO8601Format()
}

private func number(_ value: Double) -> Any { value.isFinite ? value : NSNull() }
private func text(_ value: Double) -> String { value.isFinite ? String(format: "%.4f", value) : "-" }

struct ModelCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Make a model's topics and write the first record of its update log.")

  @Option(help: ArgumentHelp("The model's YAML.", valueName: "file"))
  var file: String

  @OptionGroup var connection: KafkaConnection

  @Option(help: ArgumentHelp("Partitions of features, labels, examples and predictions.", valueName: "count"))
  var partitions = 4

  @Option(help: ArgumentHelp("Copies of each partition.", valueName: "count"))
  var replication = 1

  @Option(help: ArgumentHelp("Topics to make besides the update log, comma separated.", valueName: "names"))
  var topics = "features,labels,examples,predictions,features.dead-letter,labels.dead-letter"

  func validate() throws {
    guard (1...1024).contains(partitions) else { throw ValidationError("--partitions takes 1 to 1024") }
    guard (1...16).contains(replication) else { throw ValidationError("--replication takes 1 to 16") }
  }

  func run() throws {
    let specification = try readSpecification(file)
    let kafka = try connection.settings(clientID: "millrace-model")
    let admin = try KafkaAdmin(kafka)
    guard admin.waitUntilReachable(timeoutMilliseconds: 10_000) else {
      throw CleanFailure("no Kafka broker answers at \(kafka.bootstrapServers)")
    }
    let names = topics.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    try admin.ensureTopics(
      names.map {
        TopicSpec(
          name: $0, partitions: partitions, replication: replication,
          config: $0.hasSuffix("predictions") || $0.hasSuffix(".dead-letter") ? [:] : ["cleanup.policy": "delete"])
      })
    let written = try UpdateLogReplay.create(specification, kafka: kafka, replication: replication)
    print("\(specification.identifier)  specification \(hex(specification.hash))  \(specification.shards) shards in \(specification.updatesTopic)")
    print(written.isEmpty ? "it existed already" : "the first record was written to \(written.count) of \(specification.shards) shards")
  }
}

/// A failure that is told in one line.
struct CleanFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

struct ModelInspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show a model's specification, positions, progress, validation and checkpoints.")

  @OptionGroup var options: ModelOptions

  @Flag(help: "Start from the newest checkpoint instead of the beginning of the log.")
  var fromCheckpoint = false

  func run() throws {
    let specification = try options.specification()
    let replay = try UpdateLogReplay(specification: specification, kafka: options.kafka())
    let ends = try replay.ends()
    var set = ReplicaSet(specification: specification)
    var generations: [CheckpointGeneration] = []
    if options.checkpoints != nil {
      let store = try options.store(specification)
      generations = try store.generations()
      if fromCheckpoint || ends.contains(where: { $0.low > 0 }), let restored = try store.restore().set { set = restored }
    }
    var bar = ReplayBar()
    try replay.run(set, onProgress: { bar.show($0, $1) })
    if options.json { try printJSON(object(specification, set, ends, generations)) } else { table(specification, set, ends, generations) }
  }

  private func sources(_ set: ReplicaSet) -> [Int32] {
    Set(set.shards.flatMap { $0.acceptance.progress.keys }).sorted()
  }

  private func object(
    _ specification: ModelSpecification, _ set: ReplicaSet, _ ends: [(low: Int64, high: Int64)], _ generations: [CheckpointGeneration]
  ) -> [String: Any] {
    let validation = set.validation
    let window = set.windowedValidation
    return [
      "model": specification.identifier,
      "specification": [
        "hash": hex(specification.hash), "shards": specification.shards, "features": specification.features.map(\.name),
        "crosses": specification.crosses.map(\.features),
      ],
      "shards": set.shards.enumerated().map { shard, replica -> [String: Any] in
        [
          "shard": shard, "log_start": ends[shard].low, "position": replica.nextOffset, "epoch": Int(replica.acceptance.epoch),
          "frozen": replica.acceptance.isFrozen, "rows": replica.rowCount, "examples": replica.counts.examples,
          "accepted": replica.counts.recordsAccepted, "dropped": replica.counts.recordsDropped.reduce(0, +),
          "invalid": replica.counts.recordsInvalid, "state_hash": hex(replica.stateHash),
        ]
      },
      "progress": sources(set).map { partition -> [String: Any] in
        let least = set.shards.map { $0.acceptance.progress(of: partition) }.min { $0.offset < $1.offset } ?? SourceProgress()
        return ["partition": Int(partition), "examples": least.offset, "features": least.featuresTo, "labels": least.labelsTo]
      },
      "validation": [
        "examples": validation.examples, "loss": number(validation.meanLoss), "auc": number(validation.auc),
        "calibration": number(validation.calibration),
        "window": [
          "examples": window.examples, "loss": number(window.meanLoss), "auc": number(window.auc), "calibration": number(window.calibration),
        ],
      ],
      "checkpoints": generations.map { generation -> [String: Any] in
        [
          "generation": Int(generation.number), "created": time(milliseconds: generation.createdMilliseconds), "offsets": generation.offsets,
          "rows": Int(generation.shards.reduce(0) { $0 + $1.rows }), "bytes": Int(generation.shards.reduce(0) { $0 + $1.bytes }),
        ]
      },
    ]
  }

  private func table(
    _ specification: ModelSpecification, _ set: ReplicaSet, _ ends: [(low: Int64, high: Int64)], _ generations: [CheckpointGeneration]
  ) {
    print("\(specification.identifier)  specification \(hex(specification.hash))  \(specification.features.count) features, \(specification.crosses.count) crosses")
    printColumns(
      [["shard", "log start", "position", "epoch", "rows", "examples", "accepted", "dropped", "invalid", "state hash"]]
        + set.shards.enumerated().map { shard, replica in
          [
            "\(shard)", "\(ends[shard].low)", "\(replica.nextOffset)", "\(replica.acceptance.epoch)\(replica.acceptance.isFrozen ? " frozen" : "")",
            "\(replica.rowCount)", "\(replica.counts.examples)", "\(replica.counts.recordsAccepted)",
            "\(replica.counts.recordsDropped.reduce(0, +))", "\(replica.counts.recordsInvalid)", hex(replica.stateHash),
          ]
        })
    printColumns(
      [["examples partition", "offset", "features", "labels"]]
        + sources(set).map { partition in
          let least = set.shards.map { $0.acceptance.progress(of: partition) }.min { $0.offset < $1.offset } ?? SourceProgress()
          return ["\(partition)", "\(least.offset)", "\(least.featuresTo)", "\(least.labelsTo)"]
        })
    printColumns(
      [["validation", "examples", "loss", "AUC", "calibration", "labels through"]]
        + [("total", set.validation), ("window", set.windowedValidation)].map { name, totals in
          [
            name, "\(totals.examples)", text(totals.meanLoss), text(totals.auc), text(totals.calibration),
            time(milliseconds: totals.eventTimeThroughMilliseconds),
          ]
        })
    guard !generations.isEmpty else { return }
    printColumns(
      [["checkpoint", "created", "offsets", "rows", "bytes"]]
        + generations.map {
          [
            "\($0.number)", time(milliseconds: $0.createdMilliseconds), $0.offsets.map(String.init).joined(separator: " "),
            "\($0.shards.reduce(0) { $0 + $1.rows })", "\($0.shards.reduce(0) { $0 + $1.bytes })",
          ]
        })
  }

  private func printColumns(_ rows: [[String]]) {
    print("")
    guard let first = rows.first else { return }
    let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
      print(
        zip(row, widths).map { text, width in text + String(repeating: " ", count: width - text.count) }
          .joined(separator: "  ").trimmingCharacters(in: .init(charactersIn: " ")))
    }
  }
}

struct ModelCheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "Replay the log to its end and write a checkpoint.")

  @OptionGroup var options: ModelOptions

  func run() throws {
    let specification = try options.specification()
    let store = try options.store(specification)
    let set = try store.restore().set ?? ReplicaSet(specification: specification)
    var bar = ReplayBar()
    try UpdateLogReplay(specification: specification, kafka: options.kafka()).run(set, onProgress: { bar.show($0, $1) })
    let generation = try store.write(set)
    if options.json {
      try printJSON(["generation": Int(generation.number), "offsets": generation.offsets, "rows": Int(generation.shards.reduce(0) { $0 + $1.rows })])
    } else {
      print("checkpoint \(generation.number) of \(generation.model) at offsets \(generation.offsets.map(String.init).joined(separator: " "))")
    }
  }
}

struct ModelRestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Read the newest whole checkpoint, check every hash, and say what it holds. Needs no broker with --file.")

  @OptionGroup var options: ModelOptions

  func run() throws {
    let specification = try options.specification()
    let found = try options.store(specification).restore()
    for (number, error) in found.passedOver { FileHandle.standardError.write(Data("checkpoint \(number) is passed over: \(error)\n".utf8)) }
    guard let set = found.set, let generation = found.generation else {
      throw CleanFailure("no whole checkpoint of \(specification.identifier) in \(options.checkpoints ?? "")")
    }
    for (shard, replica) in set.shards.enumerated() {
      guard replica.recomputedStateHash() == generation.shards[shard].stateHash else {
        throw CleanFailure("shard \(shard) of checkpoint \(generation.number): its rows have another hash than its manifest says")
      }
    }
    if options.json {
      try printJSON([
        "generation": Int(generation.number), "offsets": generation.offsets, "state_hashes": generation.shards.map { hex($0.stateHash) },
        "rows": Int(generation.shards.reduce(0) { $0 + $1.rows }), "passed_over": found.passedOver.map { Int($0.number) },
      ])
    } else {
      print("checkpoint \(generation.number) of \(generation.model) is whole")
      for (shard, stated) in generation.shards.enumerated() {
        print("shard \(shard)  offset \(stated.nextOffset)  rows \(stated.rows)  examples \(stated.examples)  state hash \(hex(stated.stateHash))")
      }
    }
  }
}

struct ModelVerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Replay the log and compare: state hashes in records and checkpoints, checksums, rolling and recomputed hashes.")

  @OptionGroup var options: ModelOptions

  func run() throws {
    let specification = try options.specification()
    let replay = try UpdateLogReplay(specification: specification, kafka: options.kafka())
    let ends = try replay.ends()
    let isTrimmed = ends.contains { $0.low > 0 }
    var set = ReplicaSet(specification: specification)
    var expected: [[(offset: Int64, hash: UInt64, generation: UInt64)]] = Array(repeating: [], count: specification.shards)
    var problems: [String] = []
    if options.checkpoints != nil {
      let store = try options.store(specification)
      for generation in try store.generations() {
        do { try store.verify(generation.number) } catch { problems.append("\(error)") }
        for (shard, stated) in generation.shards.enumerated() {
          expected[shard].append((stated.nextOffset, stated.stateHash, generation.number))
        }
      }
      if isTrimmed, let restored = try store.restore().set { set = restored }
    }
    var compared = 0
    func compare(_ shard: Int, _ replica: ShardReplica) {
      for stated in expected[shard] where stated.offset == replica.nextOffset {
        compared += 1
        if stated.hash != replica.stateHash {
          problems.append(
            "shard \(shard) at offset \(stated.offset): replay gives \(hex(replica.stateHash)), checkpoint \(stated.generation) says \(hex(stated.hash))")
        }
      }
    }
    var bar = ReplayBar()
    let shards = set.shards
    try replay.run(set) { shard, _, _ in compare(shard, shards[shard]) } onProgress: { bar.show($0, $1) }
    for (shard, replica) in shards.enumerated() {
      if let divergence = replica.divergence {
        problems.append(
          "shard \(shard): the record at \(divergence.recordOffset) says that the state at \(divergence.basisOffset) was \(hex(divergence.theirs)), replay gives \(hex(divergence.ours))")
      }
      if replica.recomputedStateHash() != replica.stateHash {
        problems.append("shard \(shard): the rows have another hash than the one that was kept while applying")
      }
    }
    if options.json {
      try printJSON([
        "model": specification.identifier, "positions": shards.map(\.nextOffset), "state_hashes": shards.map { hex($0.stateHash) },
        "checkpoints_compared": compared, "from_checkpoint": isTrimmed, "problems": problems,
      ])
    } else {
      for (shard, replica) in shards.enumerated() {
        print("shard \(shard)  offset \(replica.nextOffset)  rows \(replica.rowCount)  state hash \(hex(replica.stateHash))")
      }
      print("\(compared) checkpointed states compared\(isTrimmed ? ", from the newest checkpoint on: the log before it is trimmed" : "")")
      for problem in problems { print("WRONG  \(problem)") }
      if problems.isEmpty { print("all agrees") }
    }
    if !problems.isEmpty { throw ExitCode.failure }
  }
}
