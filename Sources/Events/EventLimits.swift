/// Bounds on one record. A record beyond one is refused with a typed problem, never cut.
public struct EventLimits: Sendable, Equatable {
  /// Bytes of the record's value.
  public var payloadBytesMax: Int
  /// Feature values of the record, over all rows.
  public var valuesMax: Int
  /// Bytes of one feature's name or value, and of the key.
  public var textBytesMax: Int
  /// Bytes of the event's id.
  public var idBytesMax: Int
  /// How deep JSON may nest.
  public var jsonDepthMax: Int

  public init(
    payloadBytesMax: Int = 1 << 20, valuesMax: Int = 4096, textBytesMax: Int = 16384, idBytesMax: Int = 1024,
    jsonDepthMax: Int = 64
  ) {
    self.payloadBytesMax = payloadBytesMax
    self.valuesMax = valuesMax
    self.textBytesMax = textBytesMax
    self.idBytesMax = idBytesMax
    self.jsonDepthMax = jsonDepthMax
  }
}
