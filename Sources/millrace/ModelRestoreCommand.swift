import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

struct ModelRestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Read the newest whole checkpoint, check every hash, and say what it holds. Needs no broker with --file.")

  @OptionGroup var options: ModelLogOptions

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
