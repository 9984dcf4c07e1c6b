// Hot: reports are gathered by the producer's thread and handed over together. No allocation once the buffers have grown, but for one
// piece of work on the event loop for each batch.
import Kafka
import Synchronization

/// Where the delivery reports of one event loop's records arrive. The producer's thread adds and hands over; the loop takes.
final class ReportPort: @unchecked Sendable {
  struct Report {
    var id: UInt
    var offset: Int64
    var partition: Int32
    /// Index among the batch's errors; -1: delivered.
    var error: Int32
  }

  /// Reports of one hand-over, and the errors that they name.
  struct Batch {
    var reports: [Report] = []
    var errors: [KafkaError] = []

    mutating func removeAll() {
      reports.removeAll(keepingCapacity: true)
      errors.removeAll()
    }
  }

  let number: Int
  let gate = ProducerGate()
  /// Reports are awaited, or room: the loop sets it, so that it is also woken when there is nothing to report.
  let isWaitingForRoom = Atomic<Bool>(false)
  /// Nobody waits for reports: they are kept, and the loop, which may be gone, is left alone.
  let isIdle = Atomic<Bool>(false)
  // Of the producer's thread.
  @exclusivity(unchecked) private var gathered = Batch()
  private let shared = Mutex(Shared())

  private struct Shared {
    var batch = Batch()
    var isScheduled = false
    /// Runs `take` on the loop.
    var wake: (@Sendable () -> Void)?
  }

  init(number: Int) { self.number = number }

  /// How to get `take` called where reports are awaited. Called on the producer's thread.
  func setWake(_ wake: @escaping @Sendable () -> Void) { shared.withLock { $0.wake = wake } }

  /// Wakes nobody any more.
  func detach() { shared.withLock { $0.wake = nil } }

  // MARK: The producer's thread

  func add(id: UInt, _ partition: Int32, _ offset: Int64, _ error: KafkaError?) {
    var place: Int32 = -1
    if let error {
      place = Int32(truncatingIfNeeded: gathered.errors.count)
      gathered.errors.append(error)
    }
    gathered.reports.append(Report(id: id, offset: offset, partition: partition, error: place))
  }

  func handOver() {
    guard !isIdle.load(ordering: .acquiring) else { return }
    guard !gathered.reports.isEmpty || isWaitingForRoom.load(ordering: .acquiring) else { return }
    let wake = shared.withLock { shared -> (@Sendable () -> Void)? in
      if shared.batch.reports.isEmpty {
        swap(&shared.batch, &gathered)
      } else {
        let base = Int32(truncatingIfNeeded: shared.batch.errors.count)
        for var report in gathered.reports {
          if report.error >= 0 { report.error += base }
          shared.batch.reports.append(report)
        }
        shared.batch.errors += gathered.errors
      }
      if shared.isScheduled { return nil }
      shared.isScheduled = true
      return shared.wake
    }
    gathered.removeAll()
    wake?()
  }

  // MARK: Where they are awaited

  /// Swaps what has arrived into `batch`, which must be empty.
  func take(into batch: inout Batch) {
    shared.withLock { shared in
      swap(&shared.batch, &batch)
      shared.isScheduled = false
    }
  }
}
