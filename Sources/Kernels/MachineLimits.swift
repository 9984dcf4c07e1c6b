internal import CKernels

/// What one thread of this machine can do at most, in the instruction set in force. Measured, so neighbours on the machine show in it: figures are
/// compared with limits of the same run. Takes a few seconds.
public struct MachineLimits: Sendable, Codable, Equatable {
  public var instructionSet: String
  /// Billions of operations a second; a multiplication and an addition are two. 0: no instruction for it.
  public var float32GFLOPS: Double
  public var bfloat16GFLOPS: Double
  public var int8GOPS: Double
  /// Billions of bytes a second, read in order from memory.
  public var readGBPerSecond: Double
  /// Nanoseconds for each 64-byte line read at random from a large table: one after the other, and 16 at a time. Below 0: not measured (no memory,
  /// or no huge pages).
  public var lineNanoseconds: Double
  public var linesInFlightNanoseconds: Double
  public var hugePageLineNanoseconds: Double
  public var hugePageLinesInFlightNanoseconds: Double

  /// `tableByteCount`: of the table that lines are read from; it should be far beyond the caches.
  public static func measure(tableByteCount: Int = 1 << 30) -> MachineLimits {
    MachineLimits(
      instructionSet: "\(InstructionSet.current)", float32GFLOPS: mr_limit_float32(), bfloat16GFLOPS: mr_limit_bfloat16(),
      int8GOPS: mr_limit_int8(), readGBPerSecond: mr_limit_read(min(tableByteCount, 256 << 20)),
      lineNanoseconds: mr_limit_line(tableByteCount, 1, false), linesInFlightNanoseconds: mr_limit_line(tableByteCount, 16, false),
      hugePageLineNanoseconds: mr_limit_line(tableByteCount, 1, true), hugePageLinesInFlightNanoseconds: mr_limit_line(tableByteCount, 16, true))
  }
}
