import RPC

/// What the publish streams ask of RPC. The class that does it stands with the handlers; tests have their own.
class PublishTransport {
  init() {}
  /// Sends one message; false when the call is gone.
  func send(_ call: Call, _ message: UnsafeRawBufferPointer) -> Bool { false }
  func finish(_ call: Call, _ status: RPCStatus) {}
  func pauseReading(_ call: Call) {}
  func resumeReading(_ call: Call) {}
  /// Bytes of acks that the client has not taken.
  func pendingBytes(_ call: Call) -> Int { 0 }
}
