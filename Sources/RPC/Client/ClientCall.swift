/// One call on one loop. A plain handle, 8 bytes: safe to keep, dead after the call ended (a slot and its generation).
public struct ClientCall: Sendable, Hashable {
  let slot: Int32
  let generation: UInt32

  /// No call.
  public static let none = ClientCall(slot: -1, generation: 0)
}

/// A method made ready for calls on one loop: its header block, its deadline. A plain number, good on the loop that made it.
public struct PreparedMethod: Sendable, Hashable {
  let index: Int32
}

/// What happens to unary calls: to be subclassed. Runs on the loop's thread; must not block.
open class UnaryCompletion {
  public init() {}

  /// The call is over. `token`: what `start` was given. `message`: the answer when the status is OK, otherwise the error's text; borrowed
  /// until return. New calls may be started here; they are sent together when all that arrived has been looked at.
  open func completed(token: UInt64, status: RPCCode, message: UnsafeRawBufferPointer) {}

  /// True for completions that are told metadata first: costs allocations for each call.
  var collectsMetadata: Bool { false }
  func collected(token: UInt64, _ metadata: CallMetadata) {}
}

/// What happens to streaming calls: to be subclassed. Runs on the loop's thread; must not block.
open class StreamHandler {
  public init() {}

  /// The stream has a connection and was sent: `send` was possible before.
  open func opened(_ call: ClientCall, token: UInt64) {}

  /// A message, borrowed until return. `index`: 0 for the stream's first, then 1, 2…: a server that answers in order answers the message
  /// of that index.
  open func message(_ call: ClientCall, token: UInt64, index: UInt64, _ message: UnsafeRawBufferPointer) {}

  /// Bytes that wait to be sent fell below the low mark, after they had been above the high one.
  open func writable(_ call: ClientCall, token: UInt64) {}

  /// The stream is over; the handle is dead. `text`: the error's text, borrowed, empty when OK.
  open func ended(_ call: ClientCall, token: UInt64, status: RPCCode, text: UnsafeRawBufferPointer) {}

  var collectsMetadata: Bool { false }
  func receivedInitial(token: UInt64, _ metadata: RPCMetadata) {}
  func collected(token: UInt64, _ metadata: CallMetadata) {}
}

/// The cold part of an answer.
final class CallMetadata {
  var initial = RPCMetadata()
  var trailing = RPCMetadata()
  var details: [UInt8] = []
  /// `grpc-retry-pushback-ms`: 0 or more, negative for "do not retry", nil when not said.
  var pushbackMilliseconds: Int?
}
