/// One call on one event loop: a plain handle of eight bytes. It may be kept; it is dead once the call was finished or has ended, and
/// everything that a `ServerLoop` is asked about a dead call does nothing.
public struct Call: Sendable, Hashable {
  /// Which place of the loop's calls.
  let slot: UInt32
  /// Which of the calls that have had the place.
  let generation: UInt32

  init(slot: UInt32, generation: UInt32) {
    self.slot = slot
    self.generation = generation
  }

  /// The handle as one number, for tables and tokens; unique among the calls of one loop.
  public var token: UInt64 { UInt64(slot) << 32 | UInt64(generation) }

  public init(token: UInt64) {
    self.init(slot: UInt32(truncatingIfNeeded: token >> 32), generation: UInt32(truncatingIfNeeded: token))
  }
}
