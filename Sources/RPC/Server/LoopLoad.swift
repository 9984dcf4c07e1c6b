internal import Synchronization

/// What one loop holds, told at the end of each of its turns; read by whoever looks at the metrics.
final class LoopLoad: Sendable {
  let calls = Atomic<Int>(0)
  let heldBytes = Atomic<Int>(0)
}

/// Those of all loops of a server.
final class LoopLoads: Sendable {
  private let all = Mutex<[LoopLoad]>([])

  func add(_ load: LoopLoad) { all.withLock { $0.append(load) } }

  func sum(_ read: (LoopLoad) -> Int) -> Int { all.withLock { $0.reduce(0) { $0 + read($1) } } }
}
