internal import CKernels

/// Hashes of state that stands beside the rows.
enum StateHash {
  /// Depends on each word and on their order.
  static func words(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) -> UInt64 {
    mr_hash_combine(mr_hash_combine(mr_hash_combine(mr_hash_combine(0x6D72_7374_6174_6531, a), b), c), d)
  }

  /// The state hash of a shard: rows, progress, epoch and freeze.
  static func shard(rows: UInt64, progress: UInt64, epoch: UInt32, isFrozen: Bool) -> UInt64 {
    words(rows, progress, UInt64(epoch), isFrozen ? 1 : 0)
  }
}
