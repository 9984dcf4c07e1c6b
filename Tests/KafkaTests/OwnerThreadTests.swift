import Kafka
import Synchronization
import Testing

@Suite struct OwnerThreadTests {
  @Test func runsUntilItIsAskedToStop() throws {
    let rounds = Atomic<Int>(0)
    let woken = Atomic<Int>(0)
    let thread = OwnerThread(name: "a name longer than fifteen bytes") { thread in
      while !thread.isStopRequested { rounds.add(1, ordering: .relaxed) }
    }
    thread.setWakeUp { woken.add(1, ordering: .relaxed) }
    try thread.start()
    eventually("it runs") { rounds.load(ordering: .relaxed) > 0 }
    thread.requestStop()
    thread.join()
    thread.join()
    #expect(woken.load(ordering: .relaxed) == 1)
  }
}
