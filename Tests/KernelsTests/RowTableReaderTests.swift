import CKernels
import Foundation
import Kernels
import Synchronization
import Testing

/// Readers on other threads while one thread writes and the table grows again and again.
@Suite struct RowTableReaderTests {
  /// Every row k that the writer has announced must be found by readers with a weight that only rises.
  @Test func readersFindEveryAnnouncedRow() {
    let table = RowTable()!
    let shared = Shared()
    let rows = 60_000
    @Sendable func id(_ k: Int) -> UInt64 { UInt64(k + 1) &* 0x9E37_79B9_7F4A_7C15 }
    withThreads(2) { thread in
      var generator = SeededGenerator(seed: UInt64(thread) + 100)
      let reader = TableReader()!
      let ids = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
      let ones = UnsafeMutablePointer<Float>.allocate(capacity: 64)
      let ends = UnsafeMutablePointer<Int32>.allocate(capacity: 64)
      let sums = UnsafeMutablePointer<Float>.allocate(capacity: 64)
      defer {
        ids.deallocate()
        ones.deallocate()
        ends.deallocate()
        sums.deallocate()
      }
      for i in 0..<64 {
        ones[i] = 1
        ends[i] = Int32(i + 1)
      }
      while !shared.stop.load(ordering: .acquiring) {
        let most = shared.announced.load(ordering: .acquiring)
        if most == 0 { continue }
        for i in 0..<64 {
          // Often the newest ones: those are what moves.
          let k = i % 2 == 0 ? Int(generator.next() % UInt64(most)) : max(0, most - 1 - Int(generator.next() % 50))
          ids[i] = id(k)
          sums[i] = 0
        }
        reader.enter()
        mr_partial(table.pointer, 0, 1, ids, ones, ends, 64, sums)
        reader.leave()
        // A row's weight is at least 1 from its announcement on.
        for i in 0..<64 where sums[i] < 1 { shared.missing.add(1, ordering: .relaxed) }
        shared.reads.add(64, ordering: .relaxed)
      }
    } main: {
      for k in 0..<rows {
        _ = table.put(mr_row(id: id(k), z: 0, n: 0, w: 1, touched: 0, count: 0))
        shared.announced.store(k + 1, ordering: .releasing)
        if k % 3 == 0 { _ = table.put(mr_row(id: id(k / 2), z: 1, n: 0, w: 2, touched: 0, count: 0)) }
      }
      // Readers must have had their turn for this to mean something.
      let deadline = ContinuousClock.now + .seconds(60)
      while shared.reads.load(ordering: .relaxed) < 100_000, ContinuousClock.now < deadline { table.work(slotsMax: 10) }
      shared.stop.store(true, ordering: .releasing)
    }
    #expect(shared.missing.load(ordering: .relaxed) == 0)
    #expect(shared.reads.load(ordering: .relaxed) >= 100_000)
  }

  @Test func oldArraysStayWhileAReaderIsInside() {
    let table = RowTable()!
    let reader = TableReader()!
    reader.enter()
    for k in UInt64(1)...5000 { _ = table.put(mr_row(id: k, z: 0, n: 0, w: 1, touched: 0, count: 0)) }
    while table.isGrowing { table.work(slotsMax: 1000) }
    let held = table.bytes
    table.work(slotsMax: 1)
    #expect(table.bytes == held)
    reader.leave()
    table.work(slotsMax: 1)
    #expect(table.bytes < held)
  }

  @Test func readersAreUsedAgain() {
    for _ in 0..<100 {
      let reader = TableReader()!
      reader.enter()
      reader.leave()
    }
    var all: [TableReader] = []
    for _ in 0..<50 { all.append(TableReader()!) }
    #expect(Set(all.map { $0.pointer }).count == 50)
  }
}

/// What the threads of a test share.
private final class Shared: Sendable {
  let announced = Atomic<Int>(0)
  let stop = Atomic<Bool>(false)
  let reads = Atomic<Int>(0)
  let missing = Atomic<Int>(0)
}

/// Runs `body` on `count` threads and `main` on this one, and waits for all.
func withThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void, main: () -> Void) {
  let group = DispatchGroup()
  for index in 0..<count {
    group.enter()
    Thread.detachNewThread {
      body(index)
      group.leave()
    }
  }
  main()
  group.wait()
}
