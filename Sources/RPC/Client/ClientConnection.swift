// Hot: every byte of every call passes here. No allocation of ours in the steady state.
internal import CNGHTTP2
internal import NIOCore
internal import NIOSSL
internal import NIOTLS

/// One connection: a socket of NIO's and a session of nghttp2's. Decides nothing: what happens is told to the loop, which asks the pool.
/// On its event loop only.
final class ClientConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Output is gathered in pieces of this size.
  private static let outputBytes = 128 << 10
  /// The largest frame that nghttp2 writes in one go, and then some: with less room the piece is sent first.
  private static let frameBytesMax = 34 << 10
  /// A received window is returned to the server in pieces of this size.
  private static let windowPieceBytes = 32 << 10
  /// Stream numbers end at 2^31; a connection that comes near is replaced.
  private static let streamIDMax = Int32.max - 100_000

  let id: Int32
  let address: RPCTarget.Address
  private let loop: LoopClient
  private let isSecure: Bool
  @exclusivity(unchecked) private var session: OpaquePointer?
  @exclusivity(unchecked) private var context: ChannelHandlerContext?
  /// NIO's own first buffer, held so that every later read takes the loop's; see `SharedReadBuffer`.
  @exclusivity(unchecked) private var firstBuffer: ByteBuffer?
  /// Where nghttp2's output goes, while it writes.
  @exclusivity(unchecked) private var room: UnsafeMutableRawPointer?
  @exclusivity(unchecked) private var roomCount = 0
  @exclusivity(unchecked) private var roomCapacity = 0
  @exclusivity(unchecked) private var isOutOfRoom = false
  @exclusivity(unchecked) var isDirty = false
  /// The stream of the last callback and its user data: callbacks for one stream come together.
  @exclusivity(unchecked) private var lastStream: Int32 = -1
  @exclusivity(unchecked) private var lastKey: UInt = 0
  /// The error text of the header block that is being read, as it stands on the wire.
  @exclusivity(unchecked) private var errorText = ByteQueue()
  @exclusivity(unchecked) private(set) var isEstablished = false
  @exclusivity(unchecked) private var isOver = false
  /// To be closed, even if its socket is still to come.
  @exclusivity(unchecked) private var isUnwanted = false
  /// The server's SETTINGS were seen by the loop.
  @exclusivity(unchecked) var wasReady = false
  /// Why it ended, as far as it is known.
  @exclusivity(unchecked) var problem: String?
  @exclusivity(unchecked) var lastReadNanoseconds: Int64 = 0
  @exclusivity(unchecked) var connectTimer: Scheduled<Void>?
  @exclusivity(unchecked) var watchTimer: Scheduled<Void>?

  init(id: Int32, address: RPCTarget.Address, loop: LoopClient, isSecure: Bool) {
    self.id = id
    self.address = address
    self.loop = loop
    self.isSecure = isSecure
  }

  deinit {
    if let session { nghttp2_session_del(session) }
    errorText.deallocate()
  }

  // MARK: What the loop asks for

  /// Frames the call's header block; its message follows when output is flushed. False when no stream can be opened here.
  func submit(_ slot: Int32, _ key: UInt, _ record: UnsafeMutablePointer<CallRecord>, _ block: HeaderBlock) -> Bool {
    guard let session, !isOver else { return false }
    var provider = nghttp2_data_provider()
    provider.source.ptr = UnsafeMutableRawPointer(bitPattern: key)
    provider.read_callback = readMessage
    let stream = nghttp2_submit_request(session, nil, block.fields, block.count, &provider, UnsafeMutableRawPointer(bitPattern: key))
    guard stream > 0 else { return false }
    record.pointee.streamID = stream
    if stream > Self.streamIDMax { loop.connectionDeparted(self, "its stream numbers are used up") }
    makeDirty()
    return true
  }

  /// RST_STREAM. Streams that are gone are passed over by nghttp2.
  func reset(_ stream: Int32, _ code: nghttp2_error_code) {
    guard let session, stream > 0 else { return }
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    makeDirty()
  }

  /// The stream's data provider has something again.
  func resume(_ stream: Int32) {
    guard let session, stream > 0 else { return }
    nghttp2_session_resume_data(session, stream)
    makeDirty()
  }

  /// Gives received bytes back to the stream's window.
  func returnWindow(_ stream: Int32, _ count: Int) {
    guard let session, stream > 0, count > 0 else { return }
    nghttp2_session_consume_stream(session, stream, count)
    makeDirty()
  }

  func ping() {
    guard let session, !isOver else { return }
    nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
    makeDirty()
  }

  /// Says goodbye and closes the socket.
  func close(_ problem: String) {
    if self.problem == nil { self.problem = problem }
    if let session, !isOver {
      nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR.rawValue)
      flushOutput()
    }
    isUnwanted = true
    context?.close(promise: nil)
  }

  @inline(__always)
  private func makeDirty() {
    guard !isDirty else { return }
    isDirty = true
    loop.dirty.append(self)
  }

  /// Hands what nghttp2 wants to send to the socket. Not from within a callback of nghttp2's.
  func flushOutput() {
    guard let session, let context, !isOver else { return }
    var hasWritten = false
    while context.channel.isWritable {
      loop.output.clear()
      let count = loop.output.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.outputBytes) { fill($0, session) }
      if count < 0 || count == 0 { break }
      hasWritten = true
      context.write(Self.wrapOutboundOut(loop.output), promise: nil)
      if !isOutOfRoom { break }
    }
    if hasWritten { context.flush() }
    if nghttp2_session_want_read(session) == 0, nghttp2_session_want_write(session) == 0 { over("the connection ended by HTTP/2's rules") }
  }

  /// Lets nghttp2 write into the room; returns how much it wrote.
  private func fill(_ bytes: UnsafeMutableRawBufferPointer, _ session: OpaquePointer) -> Int {
    room = bytes.baseAddress
    roomCount = 0
    roomCapacity = bytes.count
    loop.depth &+= 1
    defer {
      loop.depth &-= 1
      room = nil
    }
    while true {
      isOutOfRoom = roomCapacity &- roomCount < Self.frameBytesMax
      if isOutOfRoom { break }
      var piece: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &piece)
      if count <= 0 {
        if count < 0 { problem = problem ?? "nghttp2 cannot send: \(String(cString: nghttp2_strerror(Int32(count))))" }
        if isOutOfRoom { break }  // the callback for DATA found too little
        break
      }
      if let piece, let room {
        (room + roomCount).copyMemory(from: piece, byteCount: count)
        roomCount &+= count
      }
    }
    return roomCount
  }

  // MARK: NIO

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if isUnwanted { return context.close(promise: nil) }
    if context.channel.isActive, !isSecure { begin(context) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    if !isSecure { begin(context) }
    context.fireChannelActive()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent {
      if negotiated == "h2" {
        begin(context)
      } else {
        over("\(address) speaks TLS but not HTTP/2 (ALPN answered \(negotiated ?? "nothing"))")
      }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let session, !isOver else { return }
    let buffer = Self.unwrapInboundIn(data)
    if !isSecure, firstBuffer == nil { firstBuffer = buffer }
    loop.depth &+= 1
    let taken = buffer.withUnsafeReadableBytes { bytes in
      nghttp2_session_mem_recv(session, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
    }
    loop.depth &-= 1
    if !isSecure { loop.readBuffer.giveBack(buffer) }
    if taken < 0 {
      over(
        isEstablished
          ? "the server broke HTTP/2: \(String(cString: nghttp2_strerror(Int32(taken))))"
          : "what answers at \(address) does not speak HTTP/2 without TLS")
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    loop.arrived(self)
    // Acknowledgements of settings and pings, windows.
    if let session, nghttp2_session_want_write(session) != 0 { makeDirty() }
    loop.turn()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard context.channel.isWritable else { return }
    makeDirty()
    loop.turn()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    over(Self.text(of: error))
    loop.turn()
  }

  func channelInactive(context: ChannelHandlerContext) {
    over("the server closed the connection")
    loop.turn()
    context.fireChannelInactive()
  }

  /// The connection is of no use any more. Ends its calls and closes the socket; the session goes with this object.
  private func over(_ problem: String) {
    guard !isOver else { return }
    isOver = true
    if self.problem == nil { self.problem = problem }
    loop.connectionLost(self)
    context?.close(promise: nil)
  }

  static func text(of error: any Error) -> String {
    switch error {
    case let error as IOError: "\(error)"
    case let error as NIOSSLError: "TLS: \(error)"
    case let error as BoringSSLError: "TLS: \(error)"
    default: "\(error)"
    }
  }

  /// Preface, SETTINGS, and a large window for the connection.
  private func begin(_ context: ChannelHandlerContext) {
    guard session == nil, !isOver, let callbacks = ClientCallbacks.shared else { return }
    var option: OpaquePointer?
    guard nghttp2_option_new(&option) == 0 else { return over("no memory for an HTTP/2 session") }
    defer { nghttp2_option_del(option) }
    nghttp2_option_set_no_auto_window_update(option, 1)
    let user = Unmanaged.passUnretained(self).toOpaque()
    guard nghttp2_session_client_new3(&session, callbacks, user, option, loop.memoryFunctions) == 0, let session else {
      return over("no memory for an HTTP/2 session")
    }
    let settings = loop.settings
    var entries = [
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue),
        value: UInt32(clamping: min(max(settings.streamWindowBytes, 65_535), Int(Int32.max)))),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: UInt32(clamping: settings.headerBytesMax)),
    ]
    nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entries, entries.count)
    nghttp2_session_set_local_window_size(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: max(settings.connectionWindowBytes, 65_535)))
    makeDirty()
    loop.turn()
  }

  // MARK: Callbacks: output

  /// How many bytes of the call's message go into the next frame.
  fileprivate func provide(_ key: UInt, _ length: Int, _ flags: UnsafeMutablePointer<UInt32>) -> Int {
    let slot = loop.slot(of: key)
    guard slot >= 0 else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    let record = loop.records + Int(slot)
    let left = record.pointee.outgoing.count &- record.pointee.sentCount
    if left == 0, !record.pointee.isFinished {
      record.pointee.isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    let count = min(left, length)
    if count == left, record.pointee.isFinished {
      flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
      record.pointee.isEndFramed = true
    }
    if count > 0 { flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_NO_COPY.rawValue) }
    return count
  }

  /// Writes a DATA frame: its head, and the bytes straight from the call's message.
  fileprivate func write(_ key: UInt, _ head: UnsafePointer<UInt8>, _ length: Int) -> Int32 {
    guard let room else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    guard roomCapacity &- roomCount >= 9 &+ length else {
      isOutOfRoom = true
      return Int32(NGHTTP2_ERR_WOULDBLOCK.rawValue)
    }
    let slot = loop.slot(of: key)
    guard slot >= 0 else { return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    let record = loop.records + Int(slot)
    guard let base = record.pointee.outgoing.bytes.baseAddress,
      record.pointee.outgoing.count &- record.pointee.sentCount >= length
    else { return Int32(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
    (room + roomCount).copyMemory(from: head, byteCount: 9)
    (room + roomCount + 9).copyMemory(from: base + record.pointee.sentCount, byteCount: length)
    roomCount &+= 9 &+ length
    loop.pool.sent(slot)
    if record.pointee.stream == nil {
      record.pointee.sentCount &+= length
    } else {
      record.pointee.outgoing.removeFirst(length)
      loop.streamSent(slot)
    }
    return 0
  }

  // MARK: Callbacks: input

  /// The live call of a stream; -1 when it is over.
  @inline(__always)
  private func slot(of stream: Int32) -> Int32 {
    if stream != lastStream {
      lastStream = stream
      lastKey = UInt(bitPattern: nghttp2_session_get_stream_user_data(session, stream))
    }
    return loop.slot(of: lastKey)
  }

  fileprivate func header(_ stream: Int32, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
    let slot = slot(of: stream)
    guard slot >= 0 else { return }
    let record = loop.records + Int(slot)
    record.pointee.headerBytes &+= Int32(truncatingIfNeeded: name.count &+ value.count &+ 32)
    if Int(record.pointee.headerBytes) > loop.settings.headerBytesMax {
      return loop.fail(slot, .resourceExhausted, "the answer has more than \(loop.settings.headerBytesMax) bytes of header fields")
    }
    switch name.count {
    case 7 where name.isEqual(":status"):
      var status: Int32 = 0
      for byte in value.prefix(3) { status = status &* 10 &+ Int32(byte &- UInt8(ascii: "0")) }
      record.pointee.httpStatus = status
      return
    case 11 where name.isEqual("grpc-status"):
      record.pointee.grpcStatus = RPCCode(wire: value).map { Int16($0.rawValue) } ?? 0xFF
      return
    case 12:
      if name.isEqual("grpc-message") {
        errorText.removeAll()
        errorText.append(value)
        return
      }
      if name.isEqual("content-type") {
        record.pointee.isGRPC = value.isGRPCContentType
        record.pointee.hasContentType = true
      }
    case 13 where name.isEqual("grpc-encoding"):
      if let encoding = MessageEncoding(wire: value) {
        record.pointee.encoding = encoding
      } else {
        record.pointee.hasUnknownEncoding = true
      }
    default: break
    }
    if record.pointee.metadata != nil { loop.collect(slot, name, value) }
  }

  fileprivate func received(_ frame: nghttp2_frame_hd) {
    switch UInt32(frame.type) {
    case NGHTTP2_HEADERS.rawValue:
      let slot = slot(of: frame.stream_id)
      if slot >= 0 {
        if frame.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { answered(slot) } else { headersRead(slot) }
      }
      errorText.removeAll()
    case NGHTTP2_DATA.rawValue:
      guard frame.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 else { return }
      let slot = slot(of: frame.stream_id)
      if slot >= 0 { answered(slot) }
    case NGHTTP2_SETTINGS.rawValue:
      guard frame.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 else { return }
      isEstablished = true
      loop.connectionSettings(self, nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    default: break
    }
  }

  fileprivate func receivedGoAway(code: UInt32, debug: UnsafeRawBufferPointer) {
    let text = debug.isEmpty ? "" : ": " + String(decoding: debug.prefix(256), as: UTF8.self)
    loop.connectionDeparted(self, "the server said goodbye (GOAWAY \(String(cString: nghttp2_http2_strerror(code)))\(text))")
  }

  fileprivate func data(_ stream: Int32, _ bytes: UnsafeRawBufferPointer) {
    nghttp2_session_consume_connection(session, bytes.count)
    let slot = slot(of: stream)
    guard slot >= 0 else { return }
    let record = loop.records + Int(slot)
    record.pointee.unreturned &+= bytes.count
    if record.pointee.unreturned >= Self.windowPieceBytes, !record.pointee.isPaused {
      nghttp2_session_consume_stream(session, stream, record.pointee.unreturned)
      record.pointee.unreturned = 0
    }
    if record.pointee.stream == nil { loop.append(slot, bytes) } else { loop.deliver(slot, bytes) }
  }

  fileprivate func closed(_ stream: Int32, _ code: UInt32) {
    // Not by the last one seen: it may have been closed and its number's user data be gone.
    let slot = loop.slot(of: UInt(bitPattern: nghttp2_session_get_stream_user_data(session, stream)))
    lastStream = -1
    loop.pool.streamClosed(id, wasAnswered: code == NGHTTP2_NO_ERROR.rawValue)
    guard slot >= 0 else { return }
    loop.streamBroke(slot, code)
  }

  // MARK: Parts

  /// The first header block, or a later one that does not end the stream.
  private func headersRead(_ slot: Int32) {
    let record = loop.records + Int(slot)
    let status = record.pointee.httpStatus
    if status >= 100 && status < 200 {
      record.pointee.httpStatus = 0
      return
    }
    record.pointee.hasHeaders = true
    if status != 200 {
      loop.fail(slot, RPCCode(httpStatus: Int(status)), "the server answered with HTTP status \(status)")
    } else if !record.pointee.isGRPC {
      loop.fail(slot, .unknown, "the answer is not gRPC: \(record.pointee.hasContentType ? "another" : "no") content-type")
    } else if record.pointee.hasUnknownEncoding {
      loop.fail(slot, .internal, "the answer is compressed in a way that was not offered")
    } else if record.pointee.metadata != nil {
      loop.initialMetadata(slot)
    }
  }

  /// The server ended the stream.
  private func answered(_ slot: Int32) {
    let record = loop.records + Int(slot)
    record.pointee.isAnswered = true
    if let code = RPCCode(rawValue: UInt8(truncatingIfNeeded: max(-1, record.pointee.grpcStatus))), record.pointee.grpcStatus >= 0 {
      if code == .ok { return loop.succeed(slot) }
      return loop.fail(slot, code, PercentEncoding.decode(errorText.bytes))
    }
    let status = record.pointee.httpStatus
    if record.pointee.grpcStatus == 0xFF {
      loop.fail(slot, .unknown, "the answer's grpc-status is no code")
    } else if status != 200 {
      loop.fail(slot, RPCCode(httpStatus: Int(status)), "the server answered with HTTP status \(status)")
    } else {
      loop.fail(slot, .unknown, "the server ended the answer without a grpc-status")
    }
  }
}

/// The callbacks of all client sessions, made once.
private enum ClientCallbacks {
  nonisolated(unsafe) static let shared: OpaquePointer? = {
    var callbacks: OpaquePointer?
    guard nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    nghttp2_session_callbacks_set_send_data_callback(callbacks) { _, _, head, length, source, user in
      guard let head, let source else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
      let key = UInt(bitPattern: source.pointee.ptr)
      return with(user) { $0.write(key, head, length) }
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, frame, name, nameLength, value, valueLength, _, user in
      guard let frame else { return 0 }
      let stream = UnsafeRawPointer(frame).assumingMemoryBound(to: nghttp2_frame_hd.self).pointee.stream_id
      with(user) {
        $0.header(stream, UnsafeRawBufferPointer(start: name, count: nameLength), UnsafeRawBufferPointer(start: value, count: valueLength))
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      guard let frame else { return 0 }
      let head = UnsafeRawPointer(frame).assumingMemoryBound(to: nghttp2_frame_hd.self).pointee
      if UInt32(head.type) == NGHTTP2_GOAWAY.rawValue {
        let goAway = frame.pointee.goaway
        with(user) {
          $0.receivedGoAway(
            code: goAway.error_code, debug: UnsafeRawBufferPointer(start: goAway.opaque_data, count: goAway.opaque_data_len))
        }
      } else {
        with(user) { $0.received(head) }
      }
      return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, bytes, count, user in
      with(user) { $0.data(stream, UnsafeRawBufferPointer(start: bytes, count: count)) }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, user in
      with(user) { $0.closed(stream, code) }
      return 0
    }
    return callbacks
  }()
}

private func readMessage(
  _ session: OpaquePointer?, _ stream: Int32, _ buffer: UnsafeMutablePointer<UInt8>?, _ length: Int,
  _ flags: UnsafeMutablePointer<UInt32>?, _ source: UnsafeMutablePointer<nghttp2_data_source>?, _ user: UnsafeMutableRawPointer?
) -> Int {
  guard let flags, let source else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
  let key = UInt(bitPattern: source.pointee.ptr)
  return with(user) { $0.provide(key, length, flags) }
}

@inline(__always)
private func with<Result>(_ user: UnsafeMutableRawPointer?, _ body: (ClientConnection) -> Result) -> Result {
  // Sessions are made with a connection as their user data, and freed with it.
  Unmanaged<ClientConnection>.fromOpaque(user.unsafelyUnwrapped)._withUnsafeGuaranteedRef(body)
}

extension UnsafeRawBufferPointer {
  @inline(__always)
  func isEqual(_ text: StaticString) -> Bool {
    guard count == text.utf8CodeUnitCount else { return false }
    for i in 0..<count where self[i] != text.utf8Start[i] { return false }
    return true
  }

  /// `application/grpc`, alone or with a suffix.
  var isGRPCContentType: Bool {
    count >= 16 && UnsafeRawBufferPointer(rebasing: self[0..<16]).isEqual("application/grpc")
      && (count == 16 || self[16] == UInt8(ascii: "+") || self[16] == UInt8(ascii: ";"))
  }
}
