/// Handles the calls of one method on one event loop: made once for each loop and reused by all calls. Everything here is called on
/// the loop's thread. A class, so that dispatch is one indirect call.
///
/// A handler may answer inside `message`, or gather and answer in `flush`, or later from any thread through `ServerLoop.execute`.
open class MethodHandler {
  /// The loop that made this handler. It lets go of its handlers when the server stops.
  public final let loop: ServerLoop
  /// Got something in this turn, so that `flush` is due.
  @exclusivity(unchecked) final var isTouched = false

  public init(loop: ServerLoop) { self.loop = loop }

  /// A whole message, decompressed, borrowed until this returns. For a unary method called once, after the client's end of stream
  /// and all checks.
  open func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {}

  /// The headers of a call arrived. Of streaming methods only.
  open func opened(_ call: Call) {}

  /// The client will send no more. Of streaming methods only.
  open func halfClosed(_ call: Call) {}

  /// The call is gone before it was finished: cancelled, reset, past its deadline, connection lost. Stop its work; the handle is dead.
  open func ended(_ call: Call) {}

  /// Less than the low mark is pending again, after more was. Of streaming methods only.
  open func writable(_ call: Call) {}

  /// Everything that arrived in this read has been handed over: answer what was gathered. Called once for each read, of handlers that
  /// got something in it.
  open func flush() {}
}

/// How many messages a method takes and gives.
public enum MethodKind: Sendable {
  /// One message each way.
  case unary
  /// Any number, from the server, the client or both.
  case streaming
}

/// One method of a service.
public struct RPCMethod: Sendable {
  /// The part of the path after the service.
  public let name: String
  public let kind: MethodKind
  /// Called once for each loop, on that loop's thread, before the first call.
  public let makeHandler: @Sendable (ServerLoop) -> MethodHandler

  public init(_ name: String, _ kind: MethodKind, makeHandler: @escaping @Sendable (ServerLoop) -> MethodHandler) {
    self.name = name
    self.kind = kind
    self.makeHandler = makeHandler
  }
}

/// A service: its name and methods.
public struct RPCService: Sendable {
  /// With its package: `inference.GRPCInferenceService`.
  public let name: String
  public let methods: [RPCMethod]
  /// For reflection: serialized `google.protobuf.FileDescriptorProto`s of the service's file and of all that it imports. May be empty.
  public let fileDescriptors: [[UInt8]]

  public init(name: String, methods: [RPCMethod], fileDescriptors: [[UInt8]] = []) {
    self.name = name
    self.methods = methods
    self.fileDescriptors = fileDescriptors
  }
}
