import Foundation
import Synchronization
import Testing

@testable import ModelStore

@Suite struct BackgroundThreadTests {
  /// What the system schedules the calling thread by.
  private static var policy: Int32 {
    var policy: Int32 = -1
    var parameters = sched_param()
    pthread_getschedparam(pthread_self(), &policy, &parameters)
    return policy
  }

  /// Runs `body` on a thread of its own: what it does to its priority ends with it.
  private func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in Thread { continuation.resume(returning: body()) }.start() }
  }

  @Test func workGivesWayAndTheThreadComesBack() async {
    struct Refused: Error {}
    let policies = await onThread {
      let thread = BackgroundThread()
      var seen = [Self.policy, thread.yielding { Self.policy }, Self.policy]
      // An error leaves nothing behind either.
      do { try thread.yielding { throw Refused() } } catch { seen.append(Self.policy) }
      return seen
    }
    #expect(policies == [SCHED_OTHER, BackgroundThread.idlePolicy, SCHED_OTHER, SCHED_OTHER])
  }

  /// On a machine that is never idle, work would never end.
  @Test func workGivesWayForSoLongOnly() async {
    let policy = await onThread {
      BackgroundThread(yieldingMilliseconds: 1).yielding {
        while Self.policy == BackgroundThread.idlePolicy { sched_yield() }
        return Self.policy
      }
    }
    #expect(policy == SCHED_OTHER)
  }
}
