// Hot: calls coming in.
internal import CNGHTTP2
internal import NIOCore
internal import Telemetry

extension ServerConnection {
  /// Hands what was read to nghttp2, whose callbacks come back here.
  func receive(_ bytes: UnsafeRawBufferPointer) {
    heardNanoseconds = loop.nowNanoseconds
    pingSentNanoseconds = 0
    if firstByteCount < 8 { noteFirst(bytes) }
    guard let session, cut == nil else { return }
    let taken = nghttp2_session_mem_recv(session, bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count)
    if borrowing != nil { keepBorrowed() }
    if taken < 0 { receiveFailed(Int32(truncatingIfNeeded: taken)) }
    loop.markDirty(self)
  }

  private func noteFirst(_ bytes: UnsafeRawBufferPointer) {
    for byte in bytes.prefix(8 - firstByteCount) {
      firstBytes = firstBytes << 8 | UInt64(byte)
      firstByteCount += 1
    }
  }

  // MARK: Headers

  func beginHeaders(_ frame: UnsafePointer<nghttp2_frame>) {
    current = nil
    guard frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST, let session else { return }
    let streamID = frame.pointee.hd.stream_id
    let isBeyond = callCount >= loop.settings.streamsMax
    if isBeyond || loop.calls.occupied >= loop.callsMax {
      loop.metrics.streamsRefused.add()
      // That others have too many calls is not this client's doing.
      if isBeyond { count(.reset) }
      nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), streamID, NGHTTP2_REFUSED_STREAM.rawValue)
      return
    }
    // Clients widen the windows of their calls one by one, before any answer.
    floods.credit(.windowUpdate, 4)
    let slot = loop.calls.take()
    slot.pointee.streamID = streamID
    slot.pointee.state = .occupied
    slot.pointee.connection = Unmanaged.passUnretained(self)
    slot.pointee.next = calls
    calls?.pointee.previous = slot
    calls = slot
    callCount &+= 1
    nghttp2_session_set_stream_user_data(session, streamID, slot)
    current = slot
  }

  @inline(__always)
  func header(_ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafePointer<UInt8>, _ valueCount: Int) {
    guard let slot = current, !slot.pointee.state.contains(.headersTooLarge) else { return }
    let bytes = Int(slot.pointee.headerBytes) &+ nameCount &+ valueCount &+ 32
    slot.pointee.headerBytes = Int32(truncatingIfNeeded: bytes)
    if bytes > loop.settings.headerBytesMax {
      slot.pointee.state.insert(.headersTooLarge)
      return
    }
    let start = value
    let value = UnsafeRawBufferPointer(start: value, count: valueCount)
    switch mr_header_of(name, nameCount) {
    case MR_HEADER_PATH: path(slot, value)
    case MR_HEADER_METHOD: if mr_is_post(start, valueCount) { slot.pointee.state.insert(.isPost) }
    case MR_HEADER_CONTENT_TYPE: if mr_is_grpc(start, valueCount) { slot.pointee.state.insert(.isGRPC) }
    case MR_HEADER_GRPC_TIMEOUT: timeout(slot, value)
    case MR_HEADER_GRPC_ENCODING: encoding(slot, value)
    case MR_HEADER_SCHEME, MR_HEADER_AUTHORITY, MR_HEADER_TE, MR_HEADER_GRPC_ACCEPT_ENCODING: break
    default: HeaderStore.append(name: UnsafeRawBufferPointer(start: name, count: nameCount), value: value, to: &slot.pointee.metadata)
    }
  }

  private func path(_ slot: UnsafeMutablePointer<CallSlot>, _ path: UnsafeRawBufferPointer) {
    if path.count == lastPath.count, let base = path.baseAddress, let last = lastPath.baseAddress, memcmp(base, last, path.count) == 0 {
      slot.pointee.methodIndex = lastMethod
      return
    }
    guard let methods = loop.methods else { return }
    let index = methods.find(path)
    slot.pointee.methodIndex = index
    if index >= 0 {
      lastMethod = index
      lastPath = methods.entries[Int(index)].path
    } else {
      // For the message that says what is not there.
      Self.withBytes(":path") { HeaderStore.append(name: $0, value: path, to: &slot.pointee.metadata) }
    }
  }

  private func timeout(_ slot: UnsafeMutablePointer<CallSlot>, _ value: UnsafeRawBufferPointer) {
    guard let nanoseconds = GRPCTimeout.nanoseconds(value) else {
      slot.pointee.state.insert(.timeoutInvalid)
      return
    }
    let (deadline, overflow) = loop.nowNanoseconds.addingReportingOverflow(nanoseconds)
    slot.pointee.deadlineNanoseconds = overflow ? .max : deadline
  }

  private func encoding(_ slot: UnsafeMutablePointer<CallSlot>, _ value: UnsafeRawBufferPointer) {
    if let encoding = MessageEncoding(wire: value) {
      slot.pointee.encoding = encoding
    } else {
      slot.pointee.state.insert(.encodingUnknown)
      // For the message that says which.
      Self.withBytes("grpc-encoding") { HeaderStore.append(name: $0, value: value, to: &slot.pointee.metadata) }
    }
  }

  /// All headers of a call are there: it is taken or refused.
  func headersComplete(_ slot: UnsafeMutablePointer<CallSlot>, endStream: Bool) {
    current = nil
    if endStream { slot.pointee.state.insert(.inputEnded) }
    let state = slot.pointee.state
    guard state.intersection(CallSlot.State.headerChecks) == CallSlot.State.headersFine, slot.pointee.methodIndex >= 0, let methods = loop.methods else {
      return refuse(slot)
    }
    let route = methods.route(slot.pointee.methodIndex)
    let isUnary = route.isUnary
    slot.pointee.handler = route.handler
    if isUnary { slot.pointee.state.insert(.unary) }
    if slot.pointee.deadlineNanoseconds != .max {
      if slot.pointee.deadlineNanoseconds <= loop.nowNanoseconds {
        // Too late before it began: the handler need not hear of it.
        return fail(slot, .deadlineExceeded, "the deadline had passed when the call arrived")
      }
      loop.deadlines.insert(slot)
    }
    slot.pointee.state.insert(.live)
    if !isUnary, let handler = slot.pointee.handler {
      loop.touch(handler)
      let call = slot.pointee.call
      handler._withUnsafeGuaranteedRef { $0.opened(call) }
    }
    if endStream { inputEnded(slot) }
  }

  /// Answers a call that no handler will hear of. Cold.
  private func refuse(_ slot: UnsafeMutablePointer<CallSlot>) {
    let state = slot.pointee.state
    if !state.contains(.isPost) {
      slot.pointee.httpStatus = 405
      fail(slot, .internal, "the HTTP method must be POST")
    } else if !state.contains(.isGRPC) {
      slot.pointee.httpStatus = 415
      fail(slot, .internal, "content-type must be application/grpc")
    } else if state.contains(.headersTooLarge) {
      fail(slot, .resourceExhausted, "the headers are larger than \(loop.settings.headerBytesMax) bytes")
    } else if slot.pointee.methodIndex < 0 {
      unknownMethod(slot)
    } else if state.contains(.encodingUnknown) {
      let given = HeaderStore.metadata(slot.pointee.metadata.bytes)["grpc-encoding"]?.prefix(100) ?? ""
      fail(slot, .unimplemented, "grpc-encoding \(given): this server understands identity, gzip and deflate")
    } else {
      fail(slot, .internal, "grpc-timeout: up to eight digits and one of H, M, S, m, u, n")
    }
  }

  private func unknownMethod(_ slot: UnsafeMutablePointer<CallSlot>) {
    var message = "there is no such method"
    HeaderStore.forEach(slot.pointee.metadata.bytes) { name, path in
      guard name.elementsEqual(":path".utf8) else { return }
      let text = String(decoding: path.prefix(200), as: UTF8.self)
      guard path.first == UInt8(ascii: "/"), let slash = path.dropFirst().firstIndex(of: UInt8(ascii: "/")) else {
        message = "the path must be /service/method, it is \(text)"
        return
      }
      let service = UnsafeRawBufferPointer(rebasing: path[1..<slash])
      let isKnown = loop.methods?.hasService(service) ?? false
      message = isKnown ? "unknown method \(text)" : "unknown service \(String(decoding: service.prefix(200), as: UTF8.self))"
    }
    fail(slot, .unimplemented, message)
  }

  // MARK: Data

  /// Bytes of a call, in the read buffer.
  @inline(__always)
  func data(_ streamID: Int32, _ bytes: UnsafeRawBufferPointer, endStream: Bool) {
    guard let session else { return }
    movedNanoseconds = loop.nowNanoseconds
    // Calls share the connection's window, so it is given back at once whatever becomes of the bytes: one slow call must not stop all.
    nghttp2_session_consume_connection(session, bytes.count)
    guard let slot = slot(of: streamID) else { return }
    guard slot.pointee.state.contains(.live) else {
      if !endStream { nghttp2_session_consume_stream(session, streamID, bytes.count) }
      return
    }
    if slot.pointee.state.contains(.unary) {
      if !endStream { nghttp2_session_consume_stream(session, streamID, bytes.count) }
      unaryData(slot, bytes, endStream)
    } else {
      if !endStream {
        // A call that is not read from keeps its window, which bounds what it can make us hold.
        if slot.pointee.state.contains(.readingPaused) {
          slot.pointee.withheldBytes &+= bytes.count
        } else {
          nghttp2_session_consume_stream(session, streamID, bytes.count)
        }
      }
      streamData(slot, bytes)
    }
  }

  @inline(__always)
  func slot(of streamID: Int32) -> UnsafeMutablePointer<CallSlot>? {
    if let last = dataSlot, last.pointee.streamID == streamID { return last }
    guard let found = nghttp2_session_get_stream_user_data(session, streamID) else { return nil }
    let slot = found.assumingMemoryBound(to: CallSlot.self)
    dataSlot = slot
    return slot
  }

  private func unaryData(_ slot: UnsafeMutablePointer<CallSlot>, _ bytes: UnsafeRawBufferPointer, _ endStream: Bool) {
    if endStream, slot.pointee.input.isEmpty, borrowing == nil, let prefix = MessagePrefix(bytes),
      prefix.length == bytes.count &- MessagePrefix.byteCount, prefix.flag == 0, prefix.length <= loop.settings.messageBytesMax
    {
      // The usual case: one frame is the whole message and the end. It is handed over from where it stands.
      borrowing = slot
      borrowed = UnsafeRawBufferPointer(rebasing: bytes[MessagePrefix.byteCount...])
      return
    }
    if borrowing == slot { keepBorrowed() }
    guard hold(slot, bytes) else { return }
    guard let prefix = MessagePrefix(slot.pointee.input.bytes) else { return }
    guard checkPrefix(slot, prefix) else { return }
    if slot.pointee.input.count > MessagePrefix.byteCount + prefix.length {
      fail(slot, .unimplemented, "a unary call takes one message, there are more")
    }
  }

  /// The borrowed message's end of stream is not in this read: what stands in the read buffer is copied.
  func keepBorrowed() {
    guard let slot = borrowing else { return }
    borrowing = nil
    withUnsafeTemporaryAllocation(byteCount: MessagePrefix.byteCount, alignment: 1) { prefix in
      guard let base = prefix.baseAddress else { return }
      MessagePrefix(length: borrowed.count).write(to: base)
      if hold(slot, UnsafeRawBufferPointer(prefix)) { _ = hold(slot, borrowed) }
    }
  }

  private func hold(_ slot: UnsafeMutablePointer<CallSlot>, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard mayHold(bytes.count) else {
      fail(slot, .resourceExhausted, "this connection's calls hold more bytes than the server can spare")
      return false
    }
    slot.pointee.input.append(bytes)
    heldBytes &+= bytes.count
    return true
  }

  /// Whether the connection may make us hold `byteCount` bytes more: within its own bound, and within its loop's as far as it holds more
  /// than anybody may.
  @inline(__always)
  func mayHold(_ byteCount: Int) -> Bool {
    byteCount <= loop.settings.heldBytesMax &- heldBytes
      && (byteCount <= loop.heldBytesMax &- loop.heldBytes || byteCount <= Self.heldAtRestBytesMax &- heldBytes)
  }

  private func streamData(_ slot: UnsafeMutablePointer<CallSlot>, _ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    if slot.pointee.input.isEmpty, !slot.pointee.state.contains(.readingPaused) {
      let taken = deliver(slot, bytes)
      guard slot.pointee.state.contains(.live) else { return }
      rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
      if rest.isEmpty { return }
      _ = hold(slot, rest)
      return
    }
    guard hold(slot, rest) else { return }
    deliverHeld(slot)
  }

  /// Hands over the whole messages at the front of `bytes`, unless reading is paused. Returns how many bytes they are.
  private func deliver(_ slot: UnsafeMutablePointer<CallSlot>, _ bytes: UnsafeRawBufferPointer) -> Int {
    let generation = slot.pointee.generation
    slot.pointee.state.insert(.delivering)
    var taken = 0
    while slot.pointee.generation == generation, !slot.pointee.state.contains(.readingPaused) {
      let left = UnsafeRawBufferPointer(rebasing: bytes[taken...])
      guard let prefix = MessagePrefix(left), checkPrefix(slot, prefix) else { break }
      let end = MessagePrefix.byteCount + prefix.length
      guard left.count >= end else { break }
      taken += end
      message(slot, prefix.flag, UnsafeRawBufferPointer(rebasing: left[MessagePrefix.byteCount..<end]))
    }
    if slot.pointee.generation == generation { slot.pointee.state.remove(.delivering) }
    return taken
  }

  private func deliverHeld(_ slot: UnsafeMutablePointer<CallSlot>) {
    if slot.pointee.state.contains(.delivering) { return }
    let generation = slot.pointee.generation
    let taken = deliver(slot, slot.pointee.input.bytes)
    guard slot.pointee.generation == generation else { return }
    slot.pointee.input.removeFirst(taken)
    heldBytes &-= taken
  }

  /// Reading goes on: what was withheld is given back, what waits is handed over.
  func resume(_ slot: UnsafeMutablePointer<CallSlot>) {
    if slot.pointee.state.contains(.readingPaused) { return }
    let generation = slot.pointee.generation
    deliverHeld(slot)
    guard slot.pointee.generation == generation, !slot.pointee.state.contains(.readingPaused) else { return }
    if slot.pointee.withheldBytes > 0 {
      nghttp2_session_consume_stream(session, slot.pointee.streamID, slot.pointee.withheldBytes)
      slot.pointee.withheldBytes = 0
      loop.markDirty(self)
    }
    if slot.pointee.state.contains(.inputEnded) { inputEnded(slot) }
  }

  private func checkPrefix(_ slot: UnsafeMutablePointer<CallSlot>, _ prefix: MessagePrefix) -> Bool {
    if prefix.length > loop.settings.messageBytesMax {
      fail(slot, .resourceExhausted, "a message of \(prefix.length) bytes, \(loop.settings.messageBytesMax) are allowed")
      return false
    }
    if prefix.flag == 0 { return true }
    if prefix.flag > 1 {
      fail(slot, .internal, "the flag before a message must be 0 or 1, it is \(prefix.flag)")
      return false
    }
    if slot.pointee.encoding == .identity {
      fail(slot, .internal, "a message is compressed, and grpc-encoding does not say how")
      return false
    }
    return true
  }

  /// One whole message whose prefix was checked.
  @inline(__always)
  private func message(_ slot: UnsafeMutablePointer<CallSlot>, _ flag: UInt8, _ bytes: UnsafeRawBufferPointer) {
    guard let handler = slot.pointee.handler else { return }
    if flag != 0 { return compressedMessage(slot, handler, bytes) }
    loop.touch(handler)
    let call = slot.pointee.call
    handler._withUnsafeGuaranteedRef { $0.message(call, bytes) }
  }

  private func compressedMessage(
    _ slot: UnsafeMutablePointer<CallSlot>, _ handler: Unmanaged<MethodHandler>, _ bytes: UnsafeRawBufferPointer
  ) {
    loop.inflated.removeAll(keeping: 1 << 20)
    switch loop.inflater.inflate(bytes, into: &loop.inflated, countMax: loop.settings.messageBytesMax) {
    case .inflated:
      loop.touch(handler)
      let call = slot.pointee.call
      handler._withUnsafeGuaranteedRef { $0.message(call, loop.inflated.bytes) }
    case .invalid: fail(slot, .internal, "a message is not what grpc-encoding says")
    case .tooLarge: fail(slot, .resourceExhausted, "a message inflates to more than \(loop.settings.messageBytesMax) bytes")
    }
  }

  /// The client has ended its side, by the last frame of data or of headers.
  func inputEnded(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.state.insert(.inputEnded)
    guard slot.pointee.state.contains(.live) else { return }
    if slot.pointee.state.contains(.unary) {
      unaryEnded(slot)
    } else if !slot.pointee.state.contains(.readingPaused), !slot.pointee.state.contains(.halfClosedTold) {
      guard slot.pointee.input.isEmpty else { return fail(slot, .internal, "the stream ended within a message") }
      guard let handler = slot.pointee.handler else { return }
      slot.pointee.state.insert(.halfClosedTold)
      loop.touch(handler)
      let call = slot.pointee.call
      handler._withUnsafeGuaranteedRef { $0.halfClosed(call) }
    }
  }

  @inline(__always)
  private func unaryEnded(_ slot: UnsafeMutablePointer<CallSlot>) {
    if borrowing == slot {
      borrowing = nil
      return message(slot, 0, borrowed)
    }
    let held = slot.pointee.input.bytes
    guard held.count > 0 else { return fail(slot, .unimplemented, "a unary call takes one message, there is none") }
    guard let prefix = MessagePrefix(held), held.count == MessagePrefix.byteCount + prefix.length else {
      return fail(slot, .internal, "the stream ended within a message")
    }
    message(slot, prefix.flag, UnsafeRawBufferPointer(rebasing: held[MessagePrefix.byteCount...]))
    // Handed over: a call that waits for its answer need not hold its question.
    heldBytes &-= slot.pointee.input.count
    slot.pointee.input.removeAll(keeping: 64 << 10)
  }

  private static func withBytes(_ text: StaticString, _ body: (UnsafeRawBufferPointer) -> Void) {
    body(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
}
