import CAllocationCount
import Foundation

/// Allocation counts that tests hold, kept in `Tests/Thresholds/allocations.json`: name → allowed number.
public struct AllocationThresholds {
  private let allowed: [String: Int]

  public init() throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("Thresholds/allocations.json")
    allowed = try JSONDecoder().decode([String: Int].self, from: Data(contentsOf: file))
  }

  /// The number allowed under `name`; nil when the file has no such name.
  public subscript(name: String) -> Int? { allowed[name] }

  /// False where a sanitizer owns malloc: then every count is 0 and says nothing.
  public static var areCounted: Bool { mr_allocations_are_counted() }

  /// Allocations that this thread makes in `body`, its own and the libraries' it calls.
  public static func ofThread(_ body: () throws -> Void) rethrows -> Int {
    let before = mr_allocations_of_thread()
    try body()
    return Int(mr_allocations_of_thread() - before)
  }

  /// Allocations of the calling thread so far, for a thread that a test can only look in on.
  public static func ofThisThread() -> Int { Int(mr_allocations_of_thread()) }

  /// Allocations of all threads so far.
  public static func ofProcess() -> Int { Int(mr_allocations_of_process()) }
}
