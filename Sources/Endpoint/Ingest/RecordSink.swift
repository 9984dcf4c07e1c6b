import Events

/// Where checked records go: to Kafka, and in tests to something that is asked what it got.
class RecordSink {
  enum Outcome: Equatable {
    /// `confirm` or `fail` will be told to the streams, once.
    case taken
    /// No room now: the same record must be offered again.
    case full
    /// It will never be taken, because it is wrong: too large for a record of Kafka.
    case wrong(PublishProblem)
    /// It is not taken now, and whether it would be later is not known.
    case failed(PublishProblem)
  }

  init() {}

  /// - Parameter record: given back in the report.
  func write(_ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, form: EventForm) -> Outcome { .full }

  /// Writes the dead letter of a refused record.
  /// - Parameter key: empty when the record is too broken to have one.
  func writeDeadLetter(
    _ record: AckLedger.Index, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?,
    _ problem: PublishProblem
  ) -> Outcome { .full }
}
