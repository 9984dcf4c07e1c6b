internal import Dispatch
internal import NIOCore
internal import Synchronization

/// Hands each new connection to the loop that has the fewest. (Sockets that share a port by SO_REUSEPORT are spread by a hash, which
/// leaves loops idle when there are few connections.)
final class FewestConnections: EventLoopGroup {
  private let loops: [ServerLoop]
  private let counts: Mutex<[Int]>

  init(_ loops: [ServerLoop]) {
    precondition(!loops.isEmpty, "a server has a loop")
    self.loops = loops
    counts = Mutex(Array(repeating: 0, count: loops.count))
  }

  /// The loop for a new connection, which counts as its own from now until `release`.
  func next() -> any EventLoop {
    let index = counts.withLock { counts in
      var fewest = 0
      for index in counts.indices where counts[index] < counts[fewest] { fewest = index }
      counts[fewest] += 1
      return fewest
    }
    return loops[index].eventLoop
  }

  func release(_ loop: ServerLoop) { counts.withLock { $0[loop.index] -= 1 } }

  func loop(of eventLoop: any EventLoop) -> ServerLoop? { loops.first { $0.eventLoop === eventLoop } }

  func any() -> any EventLoop { loops[0].eventLoop }

  func makeIterator() -> EventLoopIterator { EventLoopIterator(loops.map(\.eventLoop)) }

  /// The server shuts its loops down itself.
  func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
    queue.async { callback(nil) }
  }
}
