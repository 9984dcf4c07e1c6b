internal import Foundation
internal import Synchronization
internal import UpdateLog

/// What a host has applied, for other threads: written by the host's thread after each batch of records,
/// read and waited for by anyone. Waiters are woken by a condition variable as soon as the batch is
/// published; while nobody waits, publishing costs one uncontended lock.
final class ReplicaHostProgress: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  // Guarded by `mutex`.
  private var sources: [Int32: SourceProgress] = [:]
  private var positions: [Int64]
  /// For each shard: the boundary of event time that holds it, or `Int64.max` while it follows.
  private var heldAt: [Int64]
  private var waiting = 0
  private var closed = false

  init(shards: Int) {
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    positions = Array(repeating: 0, count: shards)
    heldAt = Array(repeating: .max, count: shards)
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    // Deadlines are durations, so the clock that may be set must not move them.
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// The host's thread changes what is published, under the lock, and wakes who waits.
  func publish(_ body: (inout [Int32: SourceProgress], inout [Int64], inout [Int64]) -> Void) {
    pthread_mutex_lock(mutex)
    body(&sources, &positions, &heldAt)
    if waiting > 0 { pthread_cond_broadcast(condition) }
    pthread_mutex_unlock(mutex)
  }

  /// No more will come: everyone who waits goes home.
  func close() {
    pthread_mutex_lock(mutex)
    closed = true
    pthread_cond_broadcast(condition)
    pthread_mutex_unlock(mutex)
  }

  func source(_ partition: Int32) -> SourceProgress? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return sources[partition]
  }

  var shardPositions: [Int64] {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return positions
  }

  /// Waits until `condition` holds of what is published.
  /// - Returns: false when the deadline (monotonic) passed or the host stopped first.
  func wait(
    deadlineNanoseconds: Int64,
    until holds: (_ sources: [Int32: SourceProgress], _ positions: [Int64], _ heldAt: [Int64]) -> Bool
  ) -> Bool {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    waiting += 1
    defer { waiting -= 1 }
    var limit = timespec(
      tv_sec: Int(deadlineNanoseconds / 1_000_000_000), tv_nsec: Int(deadlineNanoseconds % 1_000_000_000))
    while !holds(sources, positions, heldAt) {
      if closed || pthread_cond_timedwait(condition, mutex, &limit) == ETIMEDOUT {
        return holds(sources, positions, heldAt)
      }
    }
    return true
  }
}
