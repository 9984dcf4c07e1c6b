import ArgumentParser
import Foundation
import Kafka
import Model
import Serving
import UpdateLog

struct ModelVerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check a model: its log, checkpoints and code against each other, or a bundle's checksums and structure.",
    discussion: """
      Of a model that learns (name.version): replays the log and compares state hashes in records and checkpoints, checksums, rolling and \
      recomputed hashes. Of a bundle (a file): the checksum of every section, and that its family can load it.

      EXAMPLES
        millrace model verify flights.1 --bootstrap 127.0.0.1:9092 --checkpoints ./checkpoints
        millrace model verify fraud.millrace
      """)

  @OptionGroup var options: ModelLogOptions

  func run() throws {
    if let path = options.bundle { return try BundleVerification(path: path).show(json: options.json) }
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
