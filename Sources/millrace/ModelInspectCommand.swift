import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

struct ModelInspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Show a model: what its log made of it, or what a bundle holds.",
    discussion: """
      Of a model that learns (name.version): specification, positions, progress, validation and checkpoints, from a replay of its log. Of a \
      bundle (a file): manifest, inputs, outputs and sections with their checksums.

      EXAMPLES
        millrace model inspect flights.1 --bootstrap 127.0.0.1:9092
        millrace model inspect fraud.millrace
      """)

  @OptionGroup var options: ModelLogOptions

  @Flag(help: "Start from the newest checkpoint instead of the beginning of the log.")
  var fromCheckpoint = false

  func run() throws {
    if let path = options.bundle { return try BundleInspection(path: path).show(json: options.json) }
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
    print("")
    printColumns(
      [["shard", "log start", "position", "epoch", "rows", "examples", "accepted", "dropped", "invalid", "state hash"]]
        + set.shards.enumerated().map { shard, replica in
          [
            "\(shard)", "\(ends[shard].low)", "\(replica.nextOffset)", "\(replica.acceptance.epoch)\(replica.acceptance.isFrozen ? " frozen" : "")",
            "\(replica.rowCount)", "\(replica.counts.examples)", "\(replica.counts.recordsAccepted)",
            "\(replica.counts.recordsDropped.reduce(0, +))", "\(replica.counts.recordsInvalid)", hex(replica.stateHash),
          ]
        })
    print("")
    printColumns(
      [["examples partition", "offset", "features", "labels"]]
        + sources(set).map { partition in
          let least = set.shards.map { $0.acceptance.progress(of: partition) }.min { $0.offset < $1.offset } ?? SourceProgress()
          return ["\(partition)", "\(least.offset)", "\(least.featuresTo)", "\(least.labelsTo)"]
        })
    print("")
    printColumns(
      [["validation", "examples", "loss", "AUC", "calibration", "labels through"]]
        + [("total", set.validation), ("window", set.windowedValidation)].map { name, totals in
          [
            name, "\(totals.examples)", text(totals.meanLoss), text(totals.auc), text(totals.calibration),
            time(milliseconds: totals.eventTimeThroughMilliseconds),
          ]
        })
    guard !generations.isEmpty else { return }
    print("")
    printColumns(
      [["checkpoint", "created", "offsets", "rows", "bytes"]]
        + generations.map {
          [
            "\($0.number)", time(milliseconds: $0.createdMilliseconds), $0.offsets.map(String.init).joined(separator: " "),
            "\($0.shards.reduce(0) { $0 + $1.rows })", "\($0.shards.reduce(0) { $0 + $1.bytes })",
          ]
        })
  }
}

private func time(milliseconds: Int64) -> String {
  milliseconds == .min ? "-" : Date(timeIntervalSince1970: Double(milliseconds) / 1_000).ISO8601Format()
}
private func number(_ value: Double) -> Any { value.isFinite ? value : NSNull() }
private func text(_ value: Double) -> String { value.isFinite ? String(format: "%.4f", value) : "-" }
