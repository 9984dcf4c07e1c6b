/// Told of requests that were answered with scores, so that what they were asked with can be learned from. One object may be shared by
/// all loops: overrides are called on event loops, must not block and should not allocate.
open class ServedRequestSink: @unchecked Sendable {
  public init() {}

  /// A request that carries an id and did not say `log: false`. `request` is the whole ModelInferRequest, `key` its parameter of that
  /// name, or the id; all are borrowed until the return. A request of several rows has one id for all of them.
  open func served(request: UnsafeRawBufferPointer, id: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, rows: Int) {}
}
