// Hot: two atomic operations for a record.
import Synchronization

/// Lets producers pass until it is shut, and tells when none is inside: a Kafka client can only be replaced while nobody produces.
final class ProducerGate: Sendable {
  private let inside = Atomic<Int>(0)
  private let isShut = Atomic<Bool>(false)

  /// False: it is shut, come back later. Else `leave` must follow.
  @inline(__always)
  func enter() -> Bool {
    inside.wrappingAdd(1, ordering: .sequentiallyConsistent)
    if !isShut.load(ordering: .sequentiallyConsistent) { return true }
    leave()
    return false
  }

  @inline(__always)
  func leave() { inside.wrappingSubtract(1, ordering: .sequentiallyConsistent) }

  /// Returns when nobody is inside; a stay is microseconds.
  func shut() {
    isShut.store(true, ordering: .sequentiallyConsistent)
    while inside.load(ordering: .sequentiallyConsistent) != 0 {}
  }

  func open() { isShut.store(false, ordering: .sequentiallyConsistent) }
}
