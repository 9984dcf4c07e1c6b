import CKernels
import Testing

@testable import Kernels

@Suite struct PagePoolTests {
  private static let hugePage = 2 << 20

  @Test(arguments: [1, hugePage - 1, hugePage, 5 * hugePage + 77], [1, hugePage, 3 * hugePage - 1, 9 * hugePage])
  func resizedMemoryKeepsWhatFits(_ old: Int, _ new: Int) throws {
    var pages = try #require(mr_pages_allocate(old)).assumingMemoryBound(to: UInt8.self)
    for place in stride(from: 0, to: old, by: 4096) { pages[place] = UInt8(truncatingIfNeeded: place >> 12 | 1) }
    pages = try #require(mr_pages_resize(pages, old, new)).assumingMemoryBound(to: UInt8.self)
    #expect(UInt(bitPattern: pages) % UInt(Self.hugePage) == 0)
    for place in stride(from: 0, to: min(old, new), by: 4096) { #expect(pages[place] == UInt8(truncatingIfNeeded: place >> 12 | 1)) }
    pages[new - 1] = 7
    mr_pages_free(pages, new)
  }

  @Test func noMemoryOfNoSize() throws {
    #expect(mr_pages_resize(nil, 1, 1) == nil)
    let pages = try #require(mr_pages_allocate(1))
    #expect(mr_pages_resize(pages, 1, 0) == nil && mr_pages_resize(pages, 1, Int.max) == nil)
    mr_pages_free(pages, 1)
  }

  @Test func theNextTableHasTheMemoryOfTheLast() throws {
    let pool = PagePool()
    func table(_ rows: Int) throws -> EmbeddingTable { try #require(EmbeddingTable(rowCount: rows, precision: .float32, width: 16, pool: pool)) }
    var first: EmbeddingTable? = try table(100_000)
    var second: EmbeddingTable? = try table(100_000)
    let (a, b) = (first?.bytes.baseAddress, second?.bytes.baseAddress)
    #expect(a != b && pool.byteCount == 0)
    first = nil
    #expect(pool.byteCount == 6_400_000)
    let third = try table(100_000)
    #expect(third.bytes.baseAddress == a && pool.byteCount == 0)
    // One piece is kept: the last one.
    second = nil
    #expect(pool.byteCount == 6_400_000)
    let larger = try table(200_000)
    larger.setRow(199_999, values: [Float](repeating: 3, count: 16))
    var row = [Float](repeating: 0, count: 16)
    larger.row(199_999, values: &row)
    #expect(row == [Float](repeating: 3, count: 16) && pool.byteCount == 0)
    pool.drain()
    #expect(pool.byteCount == 0)
    withExtendedLifetime(third) {}
  }
}
