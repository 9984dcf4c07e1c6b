/// Where an instant falls in a run: which step, and which slice of the plot over time. Instants
/// are `MonotonicClock` nanoseconds.
public struct Timeline: Sendable {
  /// A plot of more points than this says no more.
  static let slicesMax = 600

  public let startNanoseconds: Int64
  /// End of the warm-up: what is measured begins here.
  public let measuredFromNanoseconds: Int64
  public let endNanoseconds: Int64
  public let stepCount: Int
  /// One second, or longer for a run of more than `slicesMax` seconds.
  public let sliceNanoseconds: Int64
  public let sliceCount: Int
  private let stepEnds: [Int64]

  public init(_ profile: LoadProfile, startNanoseconds: Int64) {
    self.startNanoseconds = startNanoseconds
    let boundaries = profile.boundaries.map { startNanoseconds + $0 }
    measuredFromNanoseconds = boundaries[0]
    endNanoseconds = boundaries[boundaries.count - 1]
    stepEnds = Array(boundaries.dropFirst())
    stepCount = stepEnds.count
    let measured = max(1, endNanoseconds - measuredFromNanoseconds)
    let seconds = (measured + 999_999_999) / 1_000_000_000
    sliceNanoseconds = (seconds + Int64(Self.slicesMax) - 1) / Int64(Self.slicesMax) * 1_000_000_000
    sliceCount = Int((measured + sliceNanoseconds - 1) / sliceNanoseconds)
  }

  /// nil before the end of the warm-up and after the last step.
  @inline(__always)
  func step(at nanoseconds: Int64) -> Int? {
    guard nanoseconds >= measuredFromNanoseconds && nanoseconds < endNanoseconds else { return nil }
    var step = 0
    while stepEnds[step] <= nanoseconds { step += 1 }
    return step
  }

  @inline(__always)
  func slice(at nanoseconds: Int64) -> Int? {
    guard nanoseconds >= measuredFromNanoseconds && nanoseconds < endNanoseconds else { return nil }
    return Int((nanoseconds - measuredFromNanoseconds) / sliceNanoseconds)
  }
}
