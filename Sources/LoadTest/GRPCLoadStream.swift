// Hot: `send` and `message`. No allocation per request.
internal import RPC

/// One ModelStreamInfer call of a load test. The server answers in order, so the times at which its requests were due wait in a ring.
final class GRPCLoadStream: StreamHandler {
  private static let capacity = 65_536
  /// Tag of ModelStreamInferResponse's `infer_response`.
  private static let answerTag: UInt8 = 0x12

  private unowned(unsafe) let thread: GRPCLoadThread
  private unowned(unsafe) let client: LoopClient
  private let method: PreparedMethod
  private let index: Int
  private let isEcho: Bool
  private let due: UnsafeMutablePointer<Int64>
  @exclusivity(unchecked) private var call = ClientCall.none
  @exclusivity(unchecked) private var isOpen = false
  @exclusivity(unchecked) private var sent: UInt64 = 0
  @exclusivity(unchecked) private var answered: UInt64 = 0

  init(_ thread: GRPCLoadThread, _ client: LoopClient, _ method: PreparedMethod, index: Int, isEcho: Bool) {
    self.thread = thread
    self.client = client
    self.method = method
    self.index = index
    self.isEcho = isEcho
    due = .allocate(capacity: Self.capacity)
    due.initialize(repeating: 0, count: Self.capacity)
  }

  deinit { due.deallocate() }

  @inline(__always)
  func send(_ body: UnsafeRawBufferPointer, _ intended: Int64) {
    if !isOpen { open() }
    due[Int(sent & UInt64(Self.capacity - 1))] = intended
    sent &+= 1
    client.send(call, body)
  }

  func finish() {
    if isOpen { client.finishSending(call) }
  }

  private func open() {
    sent = 0
    answered = 0
    isOpen = true
    call = client.openStream(method, token: 0, handler: self)
  }

  override func message(_ call: ClientCall, token: UInt64, index: UInt64, _ message: UnsafeRawBufferPointer) {
    answered &+= 1
    thread.answered(
      due[Int(index & UInt64(Self.capacity - 1))], isRight: isEcho ? message.count > 0 : message.first == Self.answerTag, stream: self.index)
  }

  /// What was sent and not answered has failed; the next request opens another stream.
  override func ended(_ call: ClientCall, token: UInt64, status: RPCCode, text: UnsafeRawBufferPointer) {
    isOpen = false
    let lost = Int(sent &- answered)
    if lost > 0 { thread.failed(status == .ok ? .unavailable : status, text, requests: lost) }
  }
}
