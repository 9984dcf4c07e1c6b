import Events
import UpdateLog

/// What a trainer knows of one examples partition that it is assigned.
struct TrainerSource {
  enum Phase: Equatable {
    /// Not assigned.
    case idle
    /// Waits until the given time, then starts from the replica's progress.
    case backingOff(untilNanoseconds: Int64)
    /// Reads from `position`.
    case reading
  }

  /// What the next record to one shard has to carry besides rows.
  struct Uncovered {
    /// The first source offset that no record of ours covers for this shard.
    var next: Int64
    /// Examples and label times in `[next, position)`.
    var examples: Int32
    var labelTimeMinimum: Int64
    var labelTimeMaximum: Int64
    /// When the oldest of their labels was produced, monotonic; `Int64.max`: unknown.
    var labelProducedNanoseconds: Int64
    /// When something in `[next, position)` was first taken; `Int64.max`: nothing was.
    var sinceNanoseconds: Int64

    static func from(_ next: Int64) -> Uncovered {
      Uncovered(
        next: next, examples: 0, labelTimeMinimum: .max, labelTimeMaximum: .min,
        labelProducedNanoseconds: .max, sinceNanoseconds: .max)
    }

    mutating func add(
      examples count: Int32, labelTimeMinimum minimum: Int64, labelTimeMaximum maximum: Int64,
      labelProducedNanoseconds produced: Int64, nowNanoseconds: Int64
    ) {
      examples &+= count
      labelTimeMinimum = min(labelTimeMinimum, minimum)
      labelTimeMaximum = max(labelTimeMaximum, maximum)
      labelProducedNanoseconds = min(labelProducedNanoseconds, produced)
      sinceNanoseconds = min(sinceNanoseconds, nowNanoseconds)
    }
  }

  let partition: Int32
  var phase = Phase.idle
  /// The reader state in front of `position`.
  var reader: ExamplesReaderState
  /// The next source offset to take.
  var position: Int64 { reader.offset }
  /// One for each shard.
  var uncovered: [Uncovered]
  /// Attempts since an own record was last accepted.
  var attempt = 0
  /// The offset that came instead of `position`, and how often in a row the source was sought and it came again; -1: none.
  var gapOffset: Int64 = -1
  var gapSightings = 0

  init(partition: Int32, shards: Int) {
    self.partition = partition
    reader = ExamplesReaderState()
    uncovered = Array(repeating: .from(0), count: shards)
  }
}
