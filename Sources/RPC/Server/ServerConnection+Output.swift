// Hot: answers going out.
internal import CNGHTTP2
internal import NIOCore
internal import Telemetry

extension ServerConnection {
  // MARK: From handlers

  /// Whether a call may have `byteCount` more bytes pending; ends it when it may not.
  @inline(__always)
  func hasRoom(_ slot: UnsafeMutablePointer<CallSlot>, _ byteCount: Int) -> Bool {
    if byteCount <= loop.settings.pendingBytesMax &- slot.pointee.output.count,
      mayHold(byteCount), byteCount <= Int(UInt32.max)
    {
      return true
    }
    overflow(slot)
    return false
  }

  private func overflow(_ slot: UnsafeMutablePointer<CallSlot>) {
    end(slot, .resourceExhausted, "the answer is too large, or the client does not take it")
  }

  /// Frames a message and makes it pending.
  @inline(__always)
  func append(_ slot: UnsafeMutablePointer<CallSlot>, _ message: UnsafeRawBufferPointer) -> Bool {
    guard hasRoom(slot, message.count) else { return false }
    let byteCount = MessagePrefix.byteCount &+ message.count
    let room = slot.pointee.output.reserve(byteCount)
    MessagePrefix(length: message.count).write(to: room)
    if let base = message.baseAddress { (room + MessagePrefix.byteCount).copyMemory(from: base, byteCount: message.count) }
    slot.pointee.output.advance(by: byteCount)
    appended(slot, byteCount)
    return true
  }

  /// `byteCount` bytes were made pending.
  @inline(__always)
  func appended(_ slot: UnsafeMutablePointer<CallSlot>, _ byteCount: Int) {
    heldBytes &+= byteCount
    submitHeaders(slot)
    if slot.pointee.state.contains(.deferred) { wake(slot) }
    if slot.pointee.output.count > loop.settings.pendingLowMarkBytes { slot.pointee.state.insert(.wantsWritable) }
    loop.markDirty(self)
  }

  /// Hands the response's headers to nghttp2, which will ask for data. Does nothing when that was done.
  @inline(__always)
  func submitHeaders(_ slot: UnsafeMutablePointer<CallSlot>) {
    if slot.pointee.state.contains(.headersSent) { return }
    slot.pointee.state.insert(.headersSent)
    var provider = nghttp2_data_provider(source: nghttp2_data_source(ptr: slot), read_callback: SessionCallbacks.readData)
    let result = nghttp2_submit_response(session, slot.pointee.streamID, loop.nameValues.ok, ResponseHeaders.okCount, &provider)
    if result != 0 { submitFailed(slot, result) }
    loop.markDirty(self)
  }

  private func wake(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.state.remove(.deferred)
    nghttp2_session_resume_data(session, slot.pointee.streamID)
  }

  /// Completes the answer: what is pending goes out, then the trailers. The handle is dead from here on.
  func finish(_ slot: UnsafeMutablePointer<CallSlot>, _ code: RPCCode) {
    if code == .ok, slot.pointee.state.contains(.unary), !slot.pointee.state.contains(.headersSent) {
      return fail(slot, .internal, "the method gave no answer")
    }
    slot.pointee.code = code
    slot.pointee.state.remove(.live)
    slot.pointee.state.insert(.finished)
    slot.pointee.generation &+= 1
    loop.countCall(slot.pointee.methodIndex, code)
    if slot.pointee.deadlineIndex >= 0 { loop.deadlines.remove(slot) }
    floods.credit(.reset, 1)
    if !slot.pointee.state.contains(.inputEnded) {
      slot.pointee.state.insert(.earlyEnd)
      earlyEnds &+= 1
      dropInput(slot)
    }
    if slot.pointee.state.contains(.headersSent) {
      if slot.pointee.state.contains(.deferred) { wake(slot) }
    } else {
      submitTrailersOnly(slot)
    }
    loop.markDirty(self)
  }

  /// What a call that needs no more of its client still holds of it.
  private func dropInput(_ slot: UnsafeMutablePointer<CallSlot>) {
    if slot.pointee.withheldBytes > 0 {
      nghttp2_session_consume_stream(session, slot.pointee.streamID, slot.pointee.withheldBytes)
      slot.pointee.withheldBytes = 0
    }
    // While messages are handed over from it, it stays as it is; the end of the stream frees it.
    if slot.pointee.state.contains(.delivering) { return }
    heldBytes &-= slot.pointee.input.count
    slot.pointee.input.removeAll()
  }

  /// An answer that is only headers. Cold.
  private func submitTrailersOnly(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.state.insert([.headersSent, .trailersSent, .trailersOnly])
    let httpStatus: StaticString =
      switch slot.pointee.httpStatus {
      case 405: "405"
      case 415: "415"
      default: "200"
      }
    var first = [
      ResponseHeaders.pair(":status", httpStatus), ResponseHeaders.pair("content-type", "application/grpc"),
      ResponseHeaders.status(slot.pointee.code),
    ]
    if slot.pointee.state.contains(.encodingUnknown) {
      first.append(ResponseHeaders.pair("grpc-accept-encoding", MessageEncoding.accepted))
    }
    if slot.pointee.httpStatus == 405 { first.append(ResponseHeaders.pair("allow", "POST")) }
    let result = ResponseHeaders.with(first, slot.pointee.trailers.bytes) {
      nghttp2_submit_response(session, slot.pointee.streamID, $0, $1, nil)
    }
    if result != 0 { submitFailed(slot, result) }
  }

  private func submitFailed(_ slot: UnsafeMutablePointer<CallSlot>, _ result: Int32) {
    // The stream is going already (its reset waits to be sent), or there is no memory: then the connection ends with the next call.
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), slot.pointee.streamID, NGHTTP2_INTERNAL_ERROR.rawValue)
  }

  /// Ends a call with an error of this server's, after telling its handler when it knew of it. Cold.
  func fail(_ slot: UnsafeMutablePointer<CallSlot>, _ code: RPCCode, _ message: String) {
    if slot.pointee.state.contains(.finished) { return }
    end(slot, code, message)
  }

  /// The same for a call that may have sent a part of its answer: no trailers may follow a message that was cut off.
  private func end(_ slot: UnsafeMutablePointer<CallSlot>, _ code: RPCCode, _ message: String) {
    if borrowing == slot { borrowing = nil }
    tellEnded(slot)
    if slot.pointee.state.contains(.headersSent), !slot.pointee.output.isEmpty {
      slot.pointee.state.insert(.finished)
      loop.countCall(slot.pointee.methodIndex, code)
      if slot.pointee.deadlineIndex >= 0 { loop.deadlines.remove(slot) }
      nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), slot.pointee.streamID, NGHTTP2_CANCEL.rawValue)
      loop.markDirty(self)
      return
    }
    TrailerWriter.write(RPCStatus(code, message), nil, to: &slot.pointee.trailers)
    finish(slot, code)
  }

  /// The handler hears that a call is gone, if it knew of it and has not finished it.
  func tellEnded(_ slot: UnsafeMutablePointer<CallSlot>) {
    guard slot.pointee.state.contains(.live) else { return }
    let call = slot.pointee.call
    slot.pointee.state.remove(.live)
    slot.pointee.generation &+= 1
    if let handler = slot.pointee.handler {
      loop.touch(handler)
      handler._withUnsafeGuaranteedRef { $0.ended(call) }
    }
  }

  func expire(_ slot: UnsafeMutablePointer<CallSlot>) {
    fail(slot, .deadlineExceeded, "the deadline has passed")
  }

  // MARK: From nghttp2

  /// Gives nghttp2 up to `room` bytes of a call's answer; after the last one, the trailers.
  @inline(__always)
  func readData(_ slot: UnsafeMutablePointer<CallSlot>, _ into: UnsafeMutablePointer<UInt8>, _ room: Int, _ flags: UnsafeMutablePointer<UInt32>)
    -> Int
  {
    let pending = slot.pointee.output.bytes
    let count = min(pending.count, room)
    if count > 0, let base = pending.baseAddress {
      UnsafeMutableRawPointer(into).copyMemory(from: base, byteCount: count)
      slot.pointee.output.removeFirst(count)
      heldBytes &-= count
      movedNanoseconds = loop.nowNanoseconds
      floods.creditSentData()
    }
    if slot.pointee.output.isEmpty {
      if slot.pointee.state.contains(.finished) {
        flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue | NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        submitTrailers(slot)
      } else if count == 0 {
        slot.pointee.state.insert(.deferred)
        return Int(NGHTTP2_ERR_DEFERRED.rawValue)
      }
    }
    if slot.pointee.state.contains(.wantsWritable), slot.pointee.output.count <= loop.settings.pendingLowMarkBytes {
      slot.pointee.state.remove(.wantsWritable)
      if slot.pointee.state.isDisjoint(with: [.writableQueued, .unary]) { loop.queueRoomy(slot) }
    }
    return count
  }

  @inline(__always)
  private func submitTrailers(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.state.insert(.trailersSent)
    if slot.pointee.code == .ok, slot.pointee.trailers.isEmpty {
      nghttp2_submit_trailer(session, slot.pointee.streamID, loop.nameValues.statusOK, ResponseHeaders.statusOKCount)
    } else {
      submitOtherTrailers(slot)
    }
  }

  private func submitOtherTrailers(_ slot: UnsafeMutablePointer<CallSlot>) {
    _ = ResponseHeaders.with([ResponseHeaders.status(slot.pointee.code)], slot.pointee.trailers.bytes) {
      nghttp2_submit_trailer(session, slot.pointee.streamID, $0, $1)
    }
  }

  /// A frame went out. The end of an answer whose client has not ended its side: the client is told that the rest is not wanted.
  @inline(__always)
  func sent(_ frame: UnsafePointer<nghttp2_frame>) {
    if earlyEnds == 0 { return }
    guard frame.pointee.hd.type == UInt8(NGHTTP2_HEADERS.rawValue), frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
      let slot = slot(of: frame.pointee.hd.stream_id), slot.pointee.state.contains(.earlyEnd)
    else { return }
    slot.pointee.state.remove(.earlyEnd)
    earlyEnds &-= 1
    guard !slot.pointee.state.contains(.inputEnded) else { return }
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), slot.pointee.streamID, NGHTTP2_NO_ERROR.rawValue)
  }

  /// nghttp2 has closed a stream: by both ends, a reset of either side, or the end of the connection.
  func streamClosed(_ slot: UnsafeMutablePointer<CallSlot>, _ errorCode: UInt32) {
    if slot.pointee.state.contains(.live) {
      // A reset before the answer: the client took its call back.
      count(.reset)
      tellEnded(slot)
      loop.countCall(slot.pointee.methodIndex, .cancelled)
    }
    release(slot)
  }

  /// Takes the slot of a stream that is gone out of everything that knows it.
  func release(_ slot: UnsafeMutablePointer<CallSlot>) {
    if slot.pointee.deadlineIndex >= 0 { loop.deadlines.remove(slot) }
    if slot.pointee.state.contains(.earlyEnd) { earlyEnds &-= 1 }
    heldBytes &-= slot.pointee.input.count &+ slot.pointee.output.count
    if current == slot { current = nil }
    if dataSlot == slot { dataSlot = nil }
    if borrowing == slot { borrowing = nil }
    if let previous = slot.pointee.previous { previous.pointee.next = slot.pointee.next } else { calls = slot.pointee.next }
    slot.pointee.next?.pointee.previous = slot.pointee.previous
    callCount &-= 1
    if callCount == 0 { idleSinceNanoseconds = loop.nowNanoseconds }
    loop.calls.giveBack(slot)
  }

  // MARK: Writing

  /// Writes what nghttp2 has ready, as long as the kernel takes it.
  func drain() {
    guard let session, let context, phase != .closing, phase != .closed else { return }
    // Nothing is said to a peer that has not: it may speak another protocol.
    if firstByteCount < 4 { return }
    var isFull = true
    while isFull, isWritable {
      loop.output.clear()
      isFull = fill(session)
      let byteCount = loop.output.readableBytes
      if byteCount == 0 { break }
      loop.metrics.sent.add(byteCount)
      context.writeAndFlush(wrapOutboundOut(loop.output), promise: nil)
      // A write that fails ends the channel, and the session with it.
      guard self.session != nil else { return }
    }
    if !isWritable, stalledSinceNanoseconds == 0 { stalledSinceNanoseconds = loop.nowNanoseconds }
    if nghttp2_session_want_read(session) == 0, nghttp2_session_want_write(session) == 0 { closeAfterOutput() }
  }

  /// Gathers frames into the loop's output. True when there may be more than fitted.
  private func fill(_ session: OpaquePointer) -> Bool {
    var failed = false
    var isFull = false
    loop.output.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.outputBytes) { room in
      guard let base = room.baseAddress else { return 0 }
      var count = 0
      while true {
        if room.count - count < Self.frameBytesMax {
          isFull = true
          return count
        }
        var frame: UnsafePointer<UInt8>?
        let frameCount = nghttp2_session_mem_send(session, &frame)
        guard frameCount > 0, let frame, frameCount <= room.count - count else {
          failed = frameCount != 0
          return count
        }
        (base + count).copyMemory(from: frame, byteCount: frameCount)
        if !hasSentSettings { patchSettings(base + count, frameCount) }
        count += frameCount
      }
    }
    if failed { closeNow() }
    return isFull && !failed
  }

  /// Writes the real limit of concurrent streams into our SETTINGS. nghttp2 was told that there is none, because it ends the connection
  /// of a client that goes beyond, where refusing the stream is enough.
  private func patchSettings(_ frame: UnsafeMutableRawPointer, _ byteCount: Int) {
    hasSentSettings = true
    let valueOffset = 9 + 2
    guard byteCount >= valueOffset + 4, frame.load(fromByteOffset: 3, as: UInt8.self) == UInt8(NGHTTP2_SETTINGS.rawValue) else { return }
    assert(frame.load(fromByteOffset: 10, as: UInt8.self) == UInt8(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue))
    frame.storeBytes(of: UInt32(clamping: loop.settings.streamsMax).bigEndian, toByteOffset: valueOffset, as: UInt32.self)
  }
}
