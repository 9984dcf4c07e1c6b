/// What one record of events held. Slices are borrowed: from the payload, or from the decoder until its next call.
public struct DecodedEvent {
  /// False: nothing was appended, `EventDecoder.problem()` says why.
  public var ok: Bool
  public var form: EventForm
  /// Rows appended: 1 for JSON and protobuf.
  public var rowCount: Int
  public var id: UnsafeRawBufferPointer
  /// What decides the partition: the event's key, or its id when it has none.
  public var key: UnsafeRawBufferPointer
  /// Milliseconds since 1970; `Int64.min` when the event does not say.
  public var eventTimeMilliseconds: Int64
  /// Given when the record is an example: an event with its outcome.
  public var label: Double?
  /// The weight of such an example.
  public var weight: Double
  /// Features that the model does not have, which were ignored.
  public var unknownFeatures: Int
}

/// What one record of labels held. Slices are borrowed as in `DecodedEvent`.
public struct DecodedLabel {
  /// False: `LabelDecoder.problem()` says why.
  public var ok: Bool
  public var form: EventForm
  public var id: UnsafeRawBufferPointer
  /// What decides the partition: the label's key, or its id when it has none.
  public var key: UnsafeRawBufferPointer
  /// Milliseconds since 1970; `Int64.min` when the label does not say.
  public var eventTimeMilliseconds: Int64
  /// As given: the model's label settings have not been applied.
  public var value: Double
  public var weight: Double
}
