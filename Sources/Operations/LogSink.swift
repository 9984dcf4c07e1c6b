internal import Dispatch
internal import Foundation
import Synchronization

/// Where log lines go: a file descriptor, written on a queue of its own, so that whoever logs never
/// waits for a terminal or a pipe. When the reader is slower than the writers, lines are dropped,
/// counted, and the count is written when there is room again.
public final class LogSink: Sendable {
  /// Lines beyond this many waiting bytes are dropped.
  public static let waitingBytesMax = 4 << 20

  private struct State {
    var waiting: [UInt8] = []
    var dropped = 0
    var isScheduled = false
  }

  private let descriptor: Int32
  private let state = Mutex(State())
  private let queue = DispatchQueue(label: "millrace.log", qos: .utility)

  /// `descriptor` (standard error unless told otherwise) stays open and is not closed by the sink.
  public init(descriptor: Int32 = 2) {
    self.descriptor = descriptor
  }

  /// Takes one line without its line end.
  public func write(_ line: String) {
    let schedule = state.withLock { state -> Bool in
      guard state.waiting.count + line.utf8.count < Self.waitingBytesMax else {
        state.dropped += 1
        return false
      }
      state.waiting.append(contentsOf: line.utf8)
      state.waiting.append(UInt8(ascii: "\n"))
      if state.isScheduled { return false }
      state.isScheduled = true
      return true
    }
    if schedule { queue.async { [self] in drain() } }
  }

  /// Waits until everything written so far is out. For the end of a process; waits at most a second.
  public func flush() {
    let done = DispatchSemaphore(value: 0)
    queue.async { [self] in
      drain()
      done.signal()
    }
    _ = done.wait(timeout: .now() + 1)
  }

  private func drain() {
    while true {
      let (bytes, dropped) = state.withLock { state in
        let taken = (state.waiting, state.dropped)
        state.waiting = []
        state.dropped = 0
        if taken.0.isEmpty && taken.1 == 0 { state.isScheduled = false }
        return taken
      }
      if bytes.isEmpty && dropped == 0 { return }
      writeFully(bytes)
      if dropped > 0 { writeFully(Array("(\(dropped) log lines dropped: the reader of the log is too slow)\n".utf8)) }
    }
  }

  private func writeFully(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { buffer in
      var offset = 0
      while offset < buffer.count {
        let written = Foundation.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
        if written > 0 {
          offset += written
        } else if written < 0 && errno == EINTR {
          continue
        } else if written < 0 && errno == EAGAIN {
          var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          poll(&wait, 1, 1000)
        } else {
          // Nobody reads any more. There is nowhere to say so.
          return
        }
      }
    }
  }
}
