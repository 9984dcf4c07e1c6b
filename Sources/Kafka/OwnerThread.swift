internal import CKafka
internal import Glibc
internal import Synchronization

/// A named OS thread that owns something: a consumer, a replica, a joiner. Swift tasks never run
/// on it. It is asked to stop and then joined.
public final class OwnerThread: @unchecked Sendable {
  public let name: String
  private let body: @Sendable (OwnerThread) -> Void
  private let stopping = Atomic<Bool>(false)
  private let wake = Mutex<(@Sendable () -> Void)?>(nil)
  private let thread = Mutex<pthread_t?>(nil)

  /// - Parameters:
  ///   - name: shown by the system's tools; the first 15 bytes count.
  ///   - body: runs on the thread; returns soon after `isStopRequested` turns true.
  public init(name: String, _ body: @escaping @Sendable (OwnerThread) -> Void) {
    self.name = name
    self.body = body
  }

  /// Starts the thread; once.
  /// - Throws: `OwnerThreadError` when the system gives no thread.
  public func start() throws(OwnerThreadError) {
    let code: Int32 = thread.withLock { thread in
      precondition(thread == nil, "thread \(name) started twice")
      var created = pthread_t()
      let code = pthread_create(
        &created, nil,
        { argument in
          guard let argument else { return nil }
          let owner = Unmanaged<OwnerThread>.fromOpaque(argument).takeRetainedValue()
          millrace_name_thread(owner.name)
          owner.body(owner)
          return nil
        }, Unmanaged.passRetained(self).toOpaque())
      if code == 0 { thread = created }
      return code
    }
    guard code == 0 else {
      Unmanaged.passUnretained(self).release()
      throw OwnerThreadError(name: name, code: code)
    }
  }

  /// Asked to stop?
  public var isStopRequested: Bool { stopping.load(ordering: .acquiring) }

  /// How to wake the thread when it waits, such as a consumer's `wakeUp`. It runs in
  /// `requestStop` until it is set to nil; set it to nil before what it wakes is closed.
  public func setWakeUp(_ wakeUp: (@Sendable () -> Void)?) { wake.withLock { $0 = wakeUp } }

  /// Asks the thread to stop; from any thread, any number of times.
  public func requestStop() {
    stopping.store(true, ordering: .releasing)
    wake.withLock { $0?() }
  }

  /// Makes short sleeps of the calling thread end on time, rather than up to 50 µs later.
  public static func sharpenTimers() { millrace_sharpen_timers() }

  /// Waits for the thread's end; at once when it never started or was joined before. Not from the
  /// thread itself.
  public func join() {
    let joined = thread.withLock { thread -> pthread_t? in
      defer { thread = nil }
      return thread
    }
    if let joined { pthread_join(joined, nil) }
  }
}

/// The system gave no thread.
public struct OwnerThreadError: Error, CustomStringConvertible {
  public let name: String
  public let code: Int32
  public var description: String { "Thread \"\(name)\" cannot be started: \(String(cString: strerror(code)))" }
}
