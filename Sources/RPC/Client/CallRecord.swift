// Hot: one for each slot of the loop's calls, reused.

/// What the shell keeps for a call: its message, its answer, who is told. Lives behind a pointer; memory of the queues is kept for the next call.
struct CallRecord {
  /// Memory above this is given back with the slot.
  static let keptBytesMax = 64 << 10

  var token: UInt64 = 0
  var unary: Unmanaged<UnaryCompletion>?
  var stream: Unmanaged<StreamHandler>?
  var metadata: Unmanaged<CallMetadata>?
  /// Index of the header block.
  var prepared: Int32 = -1
  /// 0 before it was submitted.
  var streamID: Int32 = 0
  /// Unary: the framed message, kept until the end, since it may have to be sent again. Streams: what waits to be sent.
  var outgoing = ByteQueue()
  /// Unary: bytes of `outgoing` that are framed already.
  var sentCount = 0
  var incoming = ByteQueue()
  var messages: UInt64 = 0
  var httpStatus: Int32 = 0
  var headerBytes: Int32 = 0
  /// Received and not yet given back to the stream's window.
  var unreturned = 0
  /// Of the answer; -1 before it is known, 0xFF for one that is no code.
  var grpcStatus: Int16 = -1
  var encoding = MessageEncoding.identity
  var hasUnknownEncoding = false
  var hasContentType = false
  var isGRPC = false
  /// Header fields seen after the first block are trailers.
  var hasHeaders = false
  /// The stream's caller sends no more; unary: always.
  var isFinished = false
  /// The frame that ends the request has been made.
  var isEndFramed = false
  /// The server ended the stream.
  var isAnswered = false
  /// The data provider has nothing to give and waits to be woken.
  var isDeferred = false
  var isAboveHighMark = false
  var isPaused = false
  /// Copies header fields instead of pointing to the prepared ones.
  var isOneShot = false

  mutating func prepareForAnswer() {
    sentCount = 0
    incoming.removeAll(keeping: Self.keptBytesMax)
    messages = 0
    httpStatus = 0
    headerBytes = 0
    unreturned = 0
    grpcStatus = -1
    encoding = .identity
    hasUnknownEncoding = false
    hasContentType = false
    isGRPC = false
    hasHeaders = false
    isDeferred = false
    isEndFramed = false
    isAnswered = false
    isPaused = false
  }
}
