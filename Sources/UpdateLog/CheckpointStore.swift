internal import CKernels
internal import Kernels
public import Model
internal import Synchronization

/// The checkpoints of one model in one directory: `generation-<number>/shard-<number>.rows`, and `manifest`, which is written last. A generation
/// without a manifest was never finished and does not count.
///
/// At least two verified generations are kept. Any thread.
public final class CheckpointStore: Sendable {
  public static let generationsKeptMin = 2

  public let directory: String
  public let specification: ModelSpecification
  let files: CheckpointFiles
  private let specHash: UInt64
  // Generations that were read through and found whole by this process.
  private let verified = Mutex<Set<UInt64>>([])

  public convenience init(directory: String, specification: ModelSpecification) {
    self.init(directory: directory, specification: specification, files: CheckpointFiles())
  }

  init(directory: String, specification: ModelSpecification, files: CheckpointFiles) {
    self.directory = directory
    self.specification = specification
    self.files = files
    specHash = specification.hash
  }

  /// What restoring came to.
  public struct Restoration: Sendable {
    /// Nil: no generation could be restored; start from the beginning of the log.
    public var set: ReplicaSet?
    public var generation: CheckpointGeneration?
    /// Newer generations that were passed over, newest first, and why.
    public var passedOver: [(number: UInt64, error: CheckpointError)]
  }

  /// Restores the newest generation that is whole. Only an unreadable directory is an error: damaged generations are passed over, and told.
  public func restore() throws(CheckpointError) -> Restoration {
    var result = Restoration(set: nil, generation: nil, passedOver: [])
    for number in try numbers().reversed() {
      do throws(CheckpointError) {
        let (generation, set) = try load(number)
        result.set = set
        result.generation = generation
        _ = verified.withLock { $0.insert(number) }
        return result
      } catch {
        result.passedOver.append((number, error))
      }
    }
    return result
  }

  /// Manifests of all finished generations, oldest first; those whose manifest cannot be read are left out.
  public func generations() throws(CheckpointError) -> [CheckpointGeneration] {
    var all: [CheckpointGeneration] = []
    for number in try numbers() {
      if let generation = try? CheckpointGeneration.read(path: manifestPath(number)) { all.append(generation) }
    }
    return all
  }

  /// Reads a whole generation and checks every checksum, number and hash. Throws what is wrong with it.
  @discardableResult
  public func verify(_ number: UInt64) throws(CheckpointError) -> CheckpointGeneration {
    let generation = try readManifest(number)
    for shard in generation.shards.indices {
      var reader = try open(shard, of: generation)
      try reader.readRows { (_: mr_row) throws(CheckpointError) in }
    }
    _ = verified.withLock { $0.insert(number) }
    return generation
  }

  /// For each shard the offset below which no record is needed any more: that of the second newest verified generation. Nil while
  /// there are not two. Verifies what was not yet, so it can take as long as reading the files.
  public func trimOffsets() throws(CheckpointError) -> [Int64]? {
    let whole = try newestWhole(Self.generationsKeptMin)
    guard whole.count == Self.generationsKeptMin, let older = whole.last else { return nil }
    return older.offsets
  }

  /// Writes a checkpoint of `set` and waits for it. Owner thread of the replicas. For slices, see `CheckpointWriter`.
  @discardableResult
  public func write(_ set: ReplicaSet) throws(CheckpointError) -> CheckpointGeneration {
    let writer = CheckpointWriter(self)
    try writer.begin(set)
    return try writer.finish()
  }

  // MARK: inside

  func path(_ number: UInt64) -> String { "\(directory)/generation-\(padded(number))" }
  func manifestPath(_ number: UInt64) -> String { path(number) + "/manifest" }
  func shardPath(_ shard: Int, _ number: UInt64) -> String { path(number) + "/shard-\(shard).rows" }

  private func padded(_ number: UInt64) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 10 - digits.count)) + digits
  }

  /// Numbers of all generation directories, ascending, finished or not.
  func numbers() throws(CheckpointError) -> [UInt64] {
    try files.list(directory).compactMap { name in
      name.hasPrefix("generation-") ? UInt64(name.dropFirst("generation-".count)) : nil
    }.sorted()
  }

  private func readManifest(_ number: UInt64) throws(CheckpointError) -> CheckpointGeneration {
    let path = manifestPath(number)
    let generation = try CheckpointGeneration.read(path: path)
    guard generation.number == number else { throw .corrupt(path: path, atByte: 12, "it is of generation \(generation.number)") }
    guard generation.specHash == specHash else {
      throw .wrongModel(path: path, "it holds \(generation.model) with specification \(generation.specHash), not \(specification.identifier) with \(specHash)")
    }
    guard generation.shards.count == specification.shards else {
      throw .wrongModel(path: path, "\(generation.shards.count) shards, the model has \(specification.shards)")
    }
    return generation
  }

  private func open(_ shard: Int, of generation: CheckpointGeneration) throws(CheckpointError) -> ShardCheckpointReader {
    let path = shardPath(shard, generation.number)
    let reader = try ShardCheckpointReader(path: path)
    let state = reader.state
    let stated = generation.shards[shard]
    guard state.shard == shard, state.shardCount == specification.shards, state.acceptance.specHash == specHash else {
      throw .wrongModel(path: path, "shard \(state.shard) of \(state.shardCount), specification \(state.acceptance.specHash)")
    }
    guard state.nextOffset == stated.nextOffset, state.stateHash == stated.stateHash, state.rowCount == stated.rows else {
      throw .corrupt(path: path, atByte: 0, "it is not the file that the manifest describes")
    }
    return reader
  }

  private func load(_ number: UInt64) throws(CheckpointError) -> (CheckpointGeneration, ReplicaSet) {
    let generation = try readManifest(number)
    var shards: [ShardReplica] = []
    for shard in generation.shards.indices {
      var reader = try open(shard, of: generation)
      let state = reader.state
      // The number of rows is covered by a checksum, and still not believed beyond what the file can hold.
      let expected = min(state.rowCount, generation.shards[shard].bytes / UInt64(ShardCheckpoint.rowBytes))
      let replica = ShardReplica(specification: specification, shard: shard, rowsExpected: Int(clamping: expected))
      let table = replica.table
      let ftrl = replica.ftrl
      let isCount = replica.family == .count
      try reader.readRows { (row: mr_row) throws(CheckpointError) in
        var row = row
        row.w = isCount ? Float(row.count) : ftrl.weight(z: row.z, n: row.n)
        guard table.put(row) else { throw .outOfMemory }
      }
      guard table.stateHash == state.rowsHash, UInt64(table.rows) == state.rowCount else {
        throw .corrupt(path: shardPath(shard, number), atByte: 0, "rows occur twice")
      }
      replica.adopt(
        acceptance: state.acceptance, nextOffset: state.nextOffset, counts: state.counts, validation: state.validation, window: state.window,
        labelsThrough: state.labelsThrough, lastRecordCRC: state.lastRecordCRC)
      shards.append(replica)
    }
    return (generation, ReplicaSet(specification: specification, shards: shards))
  }

  /// The newest `count` generations that are whole, newest first.
  private func newestWhole(_ count: Int) throws(CheckpointError) -> [CheckpointGeneration] {
    var whole: [CheckpointGeneration] = []
    for number in try numbers().reversed() where whole.count < count {
      if verified.withLock({ $0.contains(number) }) {
        if let generation = try? readManifest(number) { whole.append(generation) }
      } else if let generation = try? verify(number) {
        whole.append(generation)
      }
    }
    return whole
  }

  /// Removes what is older than the newest two whole generations, and unfinished ones older than the newest. Never the last whole ones.
  func prune() throws(CheckpointError) {
    let whole = try newestWhole(Self.generationsKeptMin)
    guard let newest = whole.first else { return }
    let kept = Set(whole.map(\.number))
    for number in try numbers() where number < newest.number && !kept.contains(number) {
      // Damaged ones between the two go as well: they can serve nobody.
      if whole.count < Self.generationsKeptMin, (try? readManifest(number)) != nil { continue }
      files.removeDirectory(path(number))
      _ = verified.withLock { $0.remove(number) }
    }
  }
}
