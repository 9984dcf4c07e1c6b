import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

struct ModelCheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "Replay the log to its end and write a checkpoint.")

  @OptionGroup var options: ModelLogOptions

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
