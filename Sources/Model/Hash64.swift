public import CKernels

/// The hash behind feature ids, partition choices and specification hashes: the same on every machine, forever. Its definition and
/// its test vectors stand with `mr_hash64` in CKernels.
@inlinable
public func hash64(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
  mr_hash64(bytes.baseAddress, bytes.count, seed)
}

/// The hash of a text's UTF-8 bytes. For setting up; hot paths have bytes.
public func hash64(_ text: String, seed: UInt64) -> UInt64 {
  var text = text
  return text.withUTF8 { hash64(UnsafeRawBufferPointer($0), seed: seed) }
}

/// The partition of `key` among `count` (at least 1) partitions: `hash64(key, seed: 0) mod count`. Producers of features, labels and
/// examples choose by this, so that an event and its label meet.
@inlinable
public func partition(forKey key: UnsafeRawBufferPointer, count: Int) -> Int {
  precondition(count > 0, "a topic has at least one partition, not \(count)")
  return Int(hash64(key, seed: 0) % UInt64(count))
}

/// As above, for a text's UTF-8 bytes.
public func partition(forKey key: String, count: Int) -> Int {
  var key = key
  return key.withUTF8 { partition(forKey: UnsafeRawBufferPointer($0), count: count) }
}
