internal import CNGHTTP2
internal import NIOCore
internal import Telemetry

extension ServerConnection {
  // MARK: The beginning

  /// The bytes of the channel are HTTP/2 from here on: makes the session and sends our SETTINGS.
  func open() {
    guard session == nil, phase == .handshake, let callbacks = SessionCallbacks.shared.callbacks else { return }
    let outermost = loop.beginTurn()
    defer { if outermost { loop.endTurn() } }
    var made: OpaquePointer?
    let user = Unmanaged.passUnretained(self).toOpaque()
    let result = nghttp2_session_server_new3(
      &made, callbacks, user, SessionCallbacks.shared.options, mr_memory_functions(loop.memory))
    guard result == 0, let made else { return closeNow() }
    session = made
    let settings = loop.settings
    var entries = [
      // The first entry, because its value is written over; see `patchSettings`.
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: 0x7fff_ffff),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(clamping: settings.streamWindowBytes)),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: UInt32(clamping: settings.headerBytesMax)),
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue), value: 1),
    ]
    nghttp2_submit_settings(made, UInt8(NGHTTP2_FLAG_NONE.rawValue), &entries, entries.count)
    nghttp2_session_set_local_window_size(
      made, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: settings.connectionWindowBytes))
    loop.markDirty(self)
    if settings.ageMilliseconds > 0 {
      let age = Int64(settings.ageMilliseconds) * 1_000_000
      ageMaxNanoseconds = age + Int64.random(in: -(age / 10)...(age / 10))
    }
    if loop.isDraining { beginDrain() }
  }

  // MARK: Floods

  /// A frame's header came.
  @inline(__always)
  func frameBegan(_ header: nghttp2_frame_hd) {
    // Nothing may come between the frames of a header block, so that any other frame says that it has ended.
    if UInt32(header.type) != NGHTTP2_CONTINUATION.rawValue { headersSinceNanoseconds = 0 }
    switch UInt32(header.type) {
    case NGHTTP2_DATA.rawValue:
      if header.length == 0, header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0 { count(.emptyData) }
    case NGHTTP2_HEADERS.rawValue: headersSinceNanoseconds = loop.nowNanoseconds
    case NGHTTP2_WINDOW_UPDATE.rawValue: count(.windowUpdate)
    case NGHTTP2_SETTINGS.rawValue: if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { count(.settings) }
    case NGHTTP2_PING.rawValue: if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { count(.ping) }
    // Counted where its call ends, which tells whether the answer was out already.
    case NGHTTP2_RST_STREAM.rawValue: break
    default: count(.other)
    }
  }

  func count(_ kind: FloodKind) {
    if floods.count(kind, loop.settings.floods), cut == nil { cutOff(CutReason(kind)) }
  }

  /// Ends the connection of a peer that asks too much. Its calls end; the rest of what it sent is not looked at.
  func cutOff(_ reason: CutReason, error: nghttp2_error_code = NGHTTP2_ENHANCE_YOUR_CALM) {
    guard cut == nil else { return }
    cut = reason
    loop.metrics.cut(reason)
    if let session { nghttp2_session_terminate_session(session, error.rawValue) }
    loop.markDirty(self)
  }

  /// nghttp2 does not go on with this connection.
  func receiveFailed(_ error: Int32) {
    guard cut == nil else { return }
    if error == NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue {
      cut = isHTTP1 ? .http1 : .protocolError
      loop.metrics.cut(isHTTP1 ? .http1 : .protocolError)
      if isHTTP1 { answerHTTP1() } else { closeAfterOutput() }
    } else {
      cutOff(.protocolError, error: NGHTTP2_PROTOCOL_ERROR)
    }
  }

  // MARK: Other protocols

  private static let http1Methods = ["GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT "]

  /// Whether the first bytes are a method of HTTP/1.
  private var isHTTP1: Bool {
    Self.http1Methods.contains { method in
      let count = min(method.utf8.count, firstByteCount)
      guard count >= 4 else { return false }
      let read = (0..<count).map { UInt8(truncatingIfNeeded: firstBytes >> UInt64((firstByteCount - 1 - $0) * 8)) }
      return read.elementsEqual(method.utf8.prefix(count))
    }
  }

  private func answerHTTP1() {
    let body = "This port speaks gRPC: HTTP/2 with prior knowledge, not HTTP/1.1.\n"
    let answer =
      "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)"
    guard let context else { return }
    context.write(wrapOutboundOut(context.channel.allocator.buffer(string: answer)), promise: nil)
    closeAfterOutput()
  }

  // MARK: Going

  private static let drainPing: [8 of UInt8] = [0x6d, 0x69, 0x6c, 0x6c, 0x64, 0x72, 0x61, 0x69]
  private static let drainPingWaitNanoseconds: Int64 = 1_000_000_000

  /// Tells the client to take its next calls elsewhere, in two steps: first without refusing any, since some may be on their way; when
  /// it must have heard, with the last call that was taken.
  func beginDrain() {
    guard phase == .open || phase == .handshake, let session else {
      if session == nil { closeNow() }
      return
    }
    phase = .draining
    drainBeganNanoseconds = loop.nowNanoseconds
    nghttp2_submit_shutdown_notice(session)
    withUnsafeBytes(of: Self.drainPing) {
      _ = nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), $0.bindMemory(to: UInt8.self).baseAddress)
    }
    loop.markDirty(self)
  }

  func pingAnswered(_ ping: nghttp2_ping) {
    let isDrains = withUnsafeBytes(of: ping.opaque_data) { answer in
      withUnsafeBytes(of: Self.drainPing) { $0.elementsEqual(answer) }
    }
    if isDrains { sendLastGoaway() }
  }

  private func sendLastGoaway() {
    guard phase == .draining, !hasSentLastGoaway, let session else { return }
    hasSentLastGoaway = true
    nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR.rawValue, nil, 0)
    loop.markDirty(self)
  }

  // MARK: Time

  /// Once for each tick of the loop: what has taken too long.
  func tick(elapsedNanoseconds: Int64) {
    let now = loop.nowNanoseconds
    let settings = loop.settings
    func isOver(_ since: Int64, _ milliseconds: Int) -> Bool { milliseconds > 0 && now &- since > Int64(milliseconds) * 1_000_000 }
    floods.forgive(elapsedNanoseconds: elapsedNanoseconds, settings.floods)
    switch phase {
    case .handshake:
      if isOver(bornNanoseconds, settings.handshakeMilliseconds) { closeFor(.handshake) }
    case .open:
      if now &- bornNanoseconds > ageMaxNanoseconds {
        loop.metrics.cut(.age)
        beginDrain()
      } else if callCount == 0, isOver(idleSinceNanoseconds, settings.idleMilliseconds) {
        loop.metrics.cut(.idle)
        beginDrain()
      }
    case .draining:
      if now &- drainBeganNanoseconds > Self.drainPingWaitNanoseconds { sendLastGoaway() }
      if !loop.isDraining, isOver(drainBeganNanoseconds, settings.ageGraceMilliseconds) { closeFor(.age) }
    case .closing:
      if now &- closeBeganNanoseconds > Self.lingerNanosecondsMax { closeNow() }
      return
    case .closed: return
    }
    if stalledSinceNanoseconds > 0, isOver(stalledSinceNanoseconds, settings.stallMilliseconds) { return closeFor(.stall) }
    // (Once draining, header blocks of calls that are not taken any more come without a word of their end.)
    if headersSinceNanoseconds > 0, phase != .draining, isOver(headersSinceNanoseconds, settings.handshakeMilliseconds) { return closeFor(.handshake) }
    if heldBytes > Self.heldAtRestBytesMax, isOver(movedNanoseconds, settings.stallMilliseconds), holdsAtRest() { return closeFor(.stall) }
    if phase == .open || phase == .draining { askForSignOfLife(now, settings) }
  }

  /// What a connection may make us hold for as long as it likes: a client whose windows stay closed, or that leaves messages half sent,
  /// is cut off above this when nothing has moved for `stallMilliseconds`.
  static let heldAtRestBytesMax = 1 << 20

  /// Whether it is the client that lets so much wait. (What waits because its handler does not read is not the client's doing.)
  private func holdsAtRest() -> Bool {
    var bytes = 0
    var next = calls
    while let slot = next {
      bytes &+= slot.pointee.output.count
      if !slot.pointee.state.contains(.readingPaused) { bytes &+= slot.pointee.input.count }
      next = slot.pointee.next
    }
    return bytes > Self.heldAtRestBytesMax
  }

  private func askForSignOfLife(_ now: Int64, _ settings: RPCServerSettings) {
    guard settings.pingIntervalMilliseconds > 0, let session, isWritable else { return }
    if pingSentNanoseconds > 0 {
      if now &- pingSentNanoseconds > Int64(settings.pingTimeoutMilliseconds) * 1_000_000 { closeFor(.silence) }
    } else if now &- heardNanoseconds > Int64(settings.pingIntervalMilliseconds) * 1_000_000 {
      pingSentNanoseconds = now
      nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
      loop.markDirty(self)
    }
  }

  private func closeFor(_ reason: CutReason) {
    loop.metrics.cut(reason)
    closeNow()
  }

  // MARK: The end

  private static let lingerNanosecondsMax: Int64 = 2_000_000_000

  /// Nothing more is to be said: lets what was written go out, ends our side, and waits a little for the client to end its own, since
  /// closing with unread bytes would make the kernel throw away what the client has not read.
  func closeAfterOutput() {
    guard phase != .closing, phase != .closed, let context else { return }
    phase = .closing
    closeBeganNanoseconds = loop.nowNanoseconds
    endCalls()
    let loop = loop
    let promise = context.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenComplete { [weak self] _ in
      guard let self, let context = self.context else { return }
      _ = loop
      context.close(mode: .output, promise: nil)
    }
    context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(capacity: 0)), promise: promise)
  }

  func closeNow() {
    guard phase != .closed else { return }
    phase = .closing
    context?.close(promise: nil)
  }

  /// The channel is gone.
  func end() {
    guard phase != .closed else { return }
    phase = .closed
    endCalls()
    if let session { nghttp2_session_del(session) }
    session = nil
    firstBuffer = nil
    loop.remove(self)
    loop.metrics.connectionClosed()
  }

  private func endCalls() {
    while let slot = calls {
      let wasLive = slot.pointee.state.contains(.live)
      tellEnded(slot)
      if wasLive { loop.countCall(slot.pointee.methodIndex, .cancelled) }
      if let session { nghttp2_session_set_stream_user_data(session, slot.pointee.streamID, nil) }
      release(slot)
    }
  }
}
