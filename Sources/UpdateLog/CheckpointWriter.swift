internal import CKernels
internal import Foundation
internal import Kernels
internal import Model

/// Writes one checkpoint while the replicas go on applying.
///
/// Capture, then write: `begin` marks every shard's state as it stands; `step`, called by the owner thread between records, copies a slice of
/// rows into memory; rows that change before their turn are kept aside first, by the table. A thread of the checkpoint's own writes, syncs,
/// renames and verifies. So neither scoring nor applying ever waits for a disk, and what is on its way is bounded.
///
/// Owned by the replicas' owner thread.
public final class CheckpointWriter {
  public enum Step: Sendable, Equatable {
    /// Nothing was begun.
    case idle
    /// Rows are being copied: call `step` again, soon.
    case capturing
    /// All is copied, the disk is at work: call again, later.
    case writing
    case finished(CheckpointGeneration)
    case failed(CheckpointError)
  }

  /// Bytes copied and not written yet; beyond it a step copies nothing.
  public static let pendingBytesMax = 64 << 20

  private let store: CheckpointStore
  private var job: CheckpointJob?
  private var captured: ReplicaSet?
  private var shard = 0
  private var framers: [ShardCheckpointFramer] = []
  private var rows = UnsafeMutableBufferPointer<mr_row>.allocate(capacity: ShardCheckpoint.rowsPerBlockMax)

  public init(_ store: CheckpointStore) { self.store = store }

  deinit {
    cancel()
    rows.deallocate()
  }

  /// True until the last row is copied.
  public var isCapturing: Bool { captured != nil }
  /// True until `step` has told the end.
  public var isBusy: Bool { job != nil }

  /// Begins a checkpoint of the state as it is now.
  public func begin(_ set: ReplicaSet) throws(CheckpointError) {
    guard job == nil else { throw .busy }
    let bytes = set.specification.canonicalBytes
    var generation = CheckpointGeneration()
    generation.model = set.specification.identifier
    generation.specHash = set.specification.hash
    generation.createdMilliseconds = Int64(Date().timeIntervalSince1970 * 1000)
    framers = []
    var first: [[UInt8]] = []
    for (index, replica) in set.shards.enumerated() {
      guard mr_table_capture_begin(replica.table.pointer) else {
        for begun in set.shards[..<index] { mr_table_capture_end(begun.table.pointer) }
        throw .outOfMemory
      }
      let state = ShardCheckpoint.State(of: replica, specificationBytes: bytes)
      var framer = ShardCheckpointFramer()
      first.append(framer.state(state))
      framers.append(framer)
      generation.shards.append(
        CheckpointGeneration.Shard(
          nextOffset: state.nextOffset, epoch: state.acceptance.epoch, rows: state.rowCount, stateHash: state.stateHash, examples: state.counts.examples))
    }
    captured = set
    shard = 0
    let job = CheckpointJob(store: store, generation: generation)
    for (index, block) in first.enumerated() { job.append(block, shard: index) }
    self.job = job
    Thread.detachNewThread { job.run() }
  }

  /// Copies rows from up to `slotsMax` slots of the table (some 4 ns each), or tells how the writing goes.
  public func step(slotsMax: Int = 1 << 15) -> Step {
    guard let job else { return .idle }
    if let outcome = job.outcome { return ended(outcome) }
    guard let set = captured else { return .writing }
    var left = slotsMax
    while left > 0, shard < set.shards.count {
      guard job.pendingBytes < Self.pendingBytesMax else { return .capturing }
      let table = set.shards[shard].table.pointer
      var done = false
      var failed = false
      let slots = min(left, ShardCheckpoint.rowsPerBlockMax)
      let count = mr_table_capture_slice(table, rows.baseAddress, rows.count, UInt64(slots), &done, &failed)
      left -= slots
      if failed {
        job.abandon(.outOfMemory)
        endCapture()
        return .writing
      }
      if count > 0 { job.append(framers[shard].rows(UnsafeBufferPointer(rebasing: rows[..<count])), shard: shard) }
      if done {
        mr_table_capture_end(table)
        job.append(framers[shard].end(), shard: shard)
        shard += 1
      }
    }
    guard shard == set.shards.count else { return .capturing }
    captured = nil
    job.close()
    return .writing
  }

  /// Does all the rest at once and waits for the disk.
  public func finish() throws(CheckpointError) -> CheckpointGeneration {
    guard let job else { throw .io(path: store.directory, operation: "finish without begin", errno: EINVAL) }
    while isCapturing {
      if case .capturing = step(slotsMax: 1 << 20) { job.waitForRoom(below: Self.pendingBytesMax) }
      if job.outcome != nil { break }
    }
    switch ended(job.waitForOutcome()) {
    case .finished(let generation): return generation
    case .failed(let error): throw error
    case .idle, .capturing, .writing: throw .io(path: store.directory, operation: "finish", errno: EINVAL)
    }
  }

  /// Gives a checkpoint up. What was written of it is removed; older ones stay.
  public func cancel() {
    guard let job else { return }
    job.abandon(.io(path: store.directory, operation: "canceled", errno: ECANCELED))
    endCapture()
    self.job = nil
  }

  private func ended(_ outcome: Result<CheckpointGeneration, CheckpointError>) -> Step {
    endCapture()
    job = nil
    switch outcome {
    case .success(let generation): return .finished(generation)
    case .failure(let error): return .failed(error)
    }
  }

  private func endCapture() {
    if let set = captured { for replica in set.shards[min(shard, set.shards.count)...] { mr_table_capture_end(replica.table.pointer) } }
    captured = nil
  }
}

/// The disk's side of a checkpoint: a queue of blocks and the thread that writes them.
final class CheckpointJob: @unchecked Sendable {
  private struct Block {
    var shard: Int
    var bytes: [UInt8]
  }

  private let store: CheckpointStore
  // Everything below is guarded by `condition`, but for `generation`, which is the thread's.
  private let condition = NSCondition()
  private var blocks: [Block] = []
  private var pending = 0
  private var closed = false
  private var abandoned: CheckpointError?
  private var ended: Result<CheckpointGeneration, CheckpointError>?
  private var generation: CheckpointGeneration

  init(store: CheckpointStore, generation: CheckpointGeneration) {
    self.store = store
    self.generation = generation
  }

  var pendingBytes: Int { condition.withLock { pending } }
  var outcome: Result<CheckpointGeneration, CheckpointError>? { condition.withLock { ended } }

  func append(_ bytes: [UInt8], shard: Int) {
    condition.withLock {
      blocks.append(Block(shard: shard, bytes: bytes))
      pending += bytes.count
      condition.broadcast()
    }
  }

  func close() {
    condition.withLock {
      closed = true
      condition.broadcast()
    }
  }

  func abandon(_ error: CheckpointError) {
    condition.withLock {
      abandoned = abandoned ?? error
      closed = true
      condition.broadcast()
    }
  }

  func waitForRoom(below limit: Int) {
    condition.withLock { while pending >= limit, ended == nil { condition.wait() } }
  }

  func waitForOutcome() -> Result<CheckpointGeneration, CheckpointError> {
    condition.withLock {
      while true {
        if let ended { return ended }
        condition.wait()
      }
    }
  }

  /// Next blocks, or nil at the end.
  private func take() throws(CheckpointError) -> [Block]? {
    let (taken, error): ([Block]?, CheckpointError?) = condition.withLock {
      while blocks.isEmpty, !closed { condition.wait() }
      if let abandoned { return (nil, abandoned) }
      if blocks.isEmpty { return (nil, nil) }
      let taken = blocks
      blocks = []
      return (taken, nil)
    }
    if let error { throw error }
    return taken
  }

  private func wrote(_ bytes: Int) {
    condition.withLock {
      pending -= bytes
      condition.broadcast()
    }
  }

  func run() {
    let result: Result<CheckpointGeneration, CheckpointError>
    do throws(CheckpointError) {
      result = .success(try write())
    } catch {
      result = .failure(error)
    }
    condition.withLock {
      ended = result
      blocks = []
      pending = 0
      condition.broadcast()
    }
  }

  private func write() throws(CheckpointError) -> CheckpointGeneration {
    let files = store.files
    try files.makeDirectory(store.directory)
    generation.number = (try store.numbers().last ?? 0) + 1
    let directory = store.path(generation.number)
    do throws(CheckpointError) {
      try files.makeDirectory(directory)
      try writeShards(files)
      try files.syncDirectory(directory)
      // The manifest makes it a generation: only when everything it speaks of is on disk.
      let manifest = store.manifestPath(generation.number)
      let descriptor = try files.create(manifest + ".tmp")
      let encoded = generation.encoded
      try writeAndClose(files, descriptor, manifest + ".tmp", encoded)
      try files.moveIntoPlace(manifest + ".tmp", manifest)
      try files.syncDirectory(directory)
      try files.syncDirectory(store.directory)
      try store.verify(generation.number)
    } catch {
      // Leaves nothing half: a full disk gets its space back.
      files.removeDirectory(directory)
      throw error
    }
    // The new generation stands; what could not be removed is tried again with the next.
    try? store.prune()
    return generation
  }

  private func writeAndClose(_ files: CheckpointFiles, _ descriptor: Int32, _ path: String, _ bytes: [UInt8]) throws(CheckpointError) {
    do throws(CheckpointError) {
      var failure: CheckpointError?
      bytes.withUnsafeBytes { raw in
        do throws(CheckpointError) { try files.writeAll(descriptor, path, raw) } catch { failure = error }
      }
      if let failure { throw failure }
    } catch {
      Foundation.close(descriptor)
      throw error
    }
    try files.syncAndClose(descriptor, path)
  }

  private func writeShards(_ files: CheckpointFiles) throws(CheckpointError) {
    var descriptors: [Int32] = []
    defer { for descriptor in descriptors where descriptor >= 0 { Foundation.close(descriptor) } }
    for shard in generation.shards.indices { descriptors.append(try files.create(store.shardPath(shard, generation.number) + ".tmp")) }
    while let blocks = try take() {
      for block in blocks {
        let path = store.shardPath(block.shard, generation.number)
        var failure: CheckpointError?
        block.bytes.withUnsafeBytes { raw in
          do throws(CheckpointError) { try files.writeAll(descriptors[block.shard], path, raw) } catch { failure = error }
        }
        if let failure { throw failure }
        generation.shards[block.shard].bytes += UInt64(block.bytes.count)
        wrote(block.bytes.count)
      }
    }
    for shard in generation.shards.indices {
      let path = store.shardPath(shard, generation.number)
      let descriptor = descriptors[shard]
      descriptors[shard] = -1
      try files.syncAndClose(descriptor, path + ".tmp")
      try files.moveIntoPlace(path + ".tmp", path)
    }
  }
}
