/// Bounds on requests. One beyond a bound is refused with a status that names it.
public struct InferenceLimits: Sendable, Equatable {
  /// Bytes of one request.
  public var requestBytesMax: Int
  /// Inputs, and raw contents, of one request.
  public var inputsMax: Int
  /// Values of one request over all inputs and rows; rows are bounded by it too. A request is scored whole, and others wait: 65,536
  /// values take two or three milliseconds.
  public var valuesMax: Int
  /// Bytes of one name or value.
  public var textBytesMax: Int
  /// Bytes of the id.
  public var idBytesMax: Int
  /// When a run has gathered this many rows or values, it is scored before more is taken: one connection cannot hold the loop.
  public var rowsPerRunMax: Int
  public var valuesPerRunMax: Int
  /// And when scoring them may take this long, by what rows of their models took lately.
  public var runNanosecondsMax: Int64

  public init(
    requestBytesMax: Int = 64 << 20, inputsMax: Int = 4096, valuesMax: Int = 1 << 16, textBytesMax: Int = 16384, idBytesMax: Int = 1024,
    rowsPerRunMax: Int = 512, valuesPerRunMax: Int = 1 << 15, runNanosecondsMax: Int64 = 2_000_000
  ) {
    self.requestBytesMax = requestBytesMax
    self.inputsMax = inputsMax
    self.valuesMax = valuesMax
    self.textBytesMax = textBytesMax
    self.idBytesMax = idBytesMax
    self.rowsPerRunMax = rowsPerRunMax
    self.valuesPerRunMax = valuesPerRunMax
    self.runNanosecondsMax = runNanosecondsMax
  }
}
