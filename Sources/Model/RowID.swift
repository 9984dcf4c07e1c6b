public import CKernels

/// The 64-bit ids of rows.
///
/// | row | id |
/// |---|---|
/// | categorical value | `hash64(value, seed: hash64(name, 0))`; whole numbers and booleans as the text of their decimal digits, `true` or `false` |
/// | numeric feature | `hash64("", seed: hash64(name, 0))`, with the transformed number as value |
/// | place of a vector | `hash64(the place as 8 bytes, little-endian, seed: hash64(name, 0))`, with the transformed number as value |
/// | bucket of a numeric feature | `hash64(bucket's number as text, seed: hash64(name, 0))` |
/// | cross | the ids of its parts, combined in the declared order |
/// | bias, count | reserved |
/// | text in a dense row | `hash64(text, seed: textSeed)`, no row of a table but what the tensor holds |
///
/// No row has id 0: tables use it for an empty slot. A hash that comes out as 0 becomes a fixed other id.
public enum RowID {
  /// The row of the constant input 1, in every row of a linear model.
  public static let bias: UInt64 = 0x6D69_6C6C_7261_6365
  /// The one row of a count model.
  public static let count: UInt64 = 0x636F_756E_7472_6F77

  /// The shard that owns row `id` among `count` shards.
  @inlinable
  public static func shard(of id: UInt64, count: Int) -> Int { Int(mr_shard_of(id, UInt32(truncatingIfNeeded: count))) }

  /// The seed of a feature's values.
  public static func seed(feature name: String) -> UInt64 { hash64(name, seed: 0) }

  /// The row of a categorical value.
  @inlinable
  public static func categorical(_ value: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 { usable(hash64(value, seed: seed)) }

  /// The row of a numeric feature.
  @inlinable
  public static func numeric(seed: UInt64) -> UInt64 { usable(mr_hash64(nil, 0, seed)) }

  /// The row of a vector's place.
  public static func place(_ index: Int, seed: UInt64) -> UInt64 {
    withUnsafeBytes(of: UInt64(truncatingIfNeeded: index).littleEndian) { usable(hash64($0, seed: seed)) }
  }

  /// What stands for a text in a dense row: equal texts have equal hashes, and that is all a model asks.
  @inlinable
  public static func text(_ value: UnsafeRawBufferPointer) -> UInt64 { hash64(value, seed: textSeed) }

  /// As above, for a text's UTF-8 bytes. For setting up; hot paths have bytes.
  public static func text(_ value: String) -> UInt64 { hash64(value, seed: textSeed) }

  /// Never changes: bundles hold hashes made with it.
  @usableFromInline static let textSeed: UInt64 = 0x7465_7874_7465_6E73

  /// The row of a cross so far, joined with its next part.
  @inlinable
  public static func combine(_ accumulated: UInt64, _ part: UInt64) -> UInt64 { usable(mr_hash_combine(accumulated, part)) }

  /// Zero is no row.
  @inlinable
  static func usable(_ id: UInt64) -> UInt64 { id == 0 ? 0x9E37_79B9_7F4A_7C15 : id }
}
