/// One record of the predictions topic. Slices are borrowed from the record or from the reader until its next call.
public struct PredictionView {
  public enum Kind: UInt8, Sendable { case scores, error, gap }

  public var form = EventForm.json
  public var kind = Kind.scores
  /// Empty in error stubs and gaps.
  public var id = UnsafeRawBufferPointer(start: nil, count: 0)
  public var model = UnsafeRawBufferPointer(start: nil, count: 0)
  public var version: Int64 = 0
  public var arm = UnsafeRawBufferPointer(start: nil, count: 0)
  /// The source offsets that the record answers, half open.
  public var from: Int64 = 0
  public var to: Int64 = 0
  /// One for each row of the event.
  public var scores = UnsafeBufferPointer<Float>(start: nil, count: 0)
  /// Rows that it answers.
  public var rows = 1
  /// Of a model with more than one number for each row: every output by its name.
  public var outputs = UnsafeBufferPointer<PredictionOutput>(start: nil, count: 0)
  /// For each shard the update-log offset that the model stood at, at least.
  public var position = UnsafeBufferPointer<Int64>(start: nil, count: 0)
  /// Milliseconds since 1970; `Int64.min` when no label had been learned.
  public var labelsThroughMilliseconds: Int64 = .min
  /// Answers of the V2 service: how far the model may be behind its log; negative when not said.
  public var stalenessMilliseconds: Int64 = -1
  /// Scores of each row, in V2 answers.
  public var columns: Int64 = 1
  public var errorReason = UnsafeRawBufferPointer(start: nil, count: 0)
  public var errorField = UnsafeRawBufferPointer(start: nil, count: 0)
  public var errorMessage = UnsafeRawBufferPointer(start: nil, count: 0)
  public var gapReason = UnsafeRawBufferPointer(start: nil, count: 0)

  public init() {}
}
