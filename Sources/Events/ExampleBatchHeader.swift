/// What a record of the examples topic covers. Ranges are half open; all four ends are -1 in a record that was given directly, which
/// is always accepted.
public struct ExampleBatchHeader: Sendable, Equatable {
  /// The record's format; 1.
  public var format: UInt32 = exampleBatchFormat
  public var featuresFrom: Int64 = -1
  public var featuresTo: Int64 = -1
  public var labelsFrom: Int64 = -1
  public var labelsTo: Int64 = -1
  /// From where a joiner that takes over must read each topic again to have what waits in memory.
  public var rebuildFeatures: Int64 = -1
  public var rebuildLabels: Int64 = -1
  public var rebuildExamples: Int64 = -1
  /// Event time up to which windows were closed; `Int64.min` when none was.
  public var watermarkMilliseconds: Int64 = .min
  /// CRC-32C of the last covered record of each source.
  public var featuresCRC: UInt32 = 0
  public var labelsCRC: UInt32 = 0
  /// The batch's own random identity; 0 only in what is given directly.
  public var batch: UInt64 = 0
  /// The identity of the batch that this one was decided after; 0: it is the first.
  public var follows: UInt64 = 0
  /// Examples in the record.
  public var count: UInt32 = 0

  public init() {}

  /// Given directly by a producer: no ranges.
  public var isDirect: Bool { featuresFrom < 0 && labelsFrom < 0 }
}

/// The format that this version writes and reads.
public let exampleBatchFormat: UInt32 = 1

/// One example, as its record holds it. Slices are borrowed from the record (or, for a JSON record given directly, from the reader until
/// its next call).
public struct ExampleView {
  public var id = UnsafeRawBufferPointer(start: nil, count: 0)
  /// Milliseconds since 1970; `Int64.min` when unknown.
  public var eventTimeMilliseconds: Int64 = .min
  /// When the label was observed; `Int64.min` when unknown.
  public var labelTimeMilliseconds: Int64 = .min
  /// As the producer gave it: the model's label settings have not been applied.
  public var label: Double = 0
  public var weight: Double = 1
  /// Where the event and the label stood; -1: nowhere.
  public var featureOffset: Int64 = -1
  public var labelOffset: Int64 = -1
  /// No label came within the window.
  public var expired = false
  public var form = EventForm.json
  /// The event's record value, for `EventDecoder`.
  public var event = UnsafeRawBufferPointer(start: nil, count: 0)

  public init() {}
}
