internal import Kernels

// What a trainer reads of the replica beside it, on the replica's thread.

extension ShardReplica {
  /// The row table, for kernels that read it on the owner thread (`mr_speculation.h`). The same for the replica's whole life.
  public var tablePointer: OpaquePointer { table.pointer }
}

extension UpdateRecordView {
  /// The column of row ids: 64-bit, little-endian, at any alignment.
  public var idBytes: UnsafeRawBufferPointer { ids.bytes }
}
