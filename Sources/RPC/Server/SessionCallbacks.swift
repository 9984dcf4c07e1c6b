// Hot: nghttp2 calls these several times for each call. Each finds its connection by the pointer that the session carries.
internal import CNGHTTP2

/// What nghttp2 calls for every session of a server; made once.
final class SessionCallbacks: @unchecked Sendable {
  static let shared = SessionCallbacks()

  let callbacks: OpaquePointer?
  let options: OpaquePointer?

  private init() {
    var callbacks: OpaquePointer?
    var options: OpaquePointer?
    guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&options) == 0 else {
      self.callbacks = nil
      self.options = nil
      return
    }
    self.callbacks = callbacks
    self.options = options
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, header, user in
      guard let header, let user else { return 0 }
      SessionCallbacks.connection(user) { $0.frameBegan(header.pointee) }
      return 0
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
      guard let frame, let user else { return 0 }
      SessionCallbacks.connection(user) { $0.beginHeaders(frame) }
      return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, _, name, nameCount, value, valueCount, _, user in
      guard let name, let value, let user else { return 0 }
      SessionCallbacks.connection(user) { $0.header(name, nameCount, value, valueCount) }
      return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, flags, streamID, bytes, count, user in
      guard let bytes, let user else { return 0 }
      let endStream = flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
      SessionCallbacks.connection(user) { $0.data(streamID, UnsafeRawBufferPointer(start: bytes, count: count), endStream: endStream) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      guard let frame, let user else { return 0 }
      SessionCallbacks.connection(user) { $0.frameReceived(frame) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
      guard let frame, let user else { return 0 }
      SessionCallbacks.connection(user) { $0.sent(frame) }
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { session, streamID, errorCode, user in
      guard let user, let found = nghttp2_session_get_stream_user_data(session, streamID) else { return 0 }
      SessionCallbacks.connection(user) { $0.streamClosed(found.assumingMemoryBound(to: CallSlot.self), errorCode) }
      return 0
    }
    // Windows are given back as bytes are used, so that a call can be paused.
    nghttp2_option_set_no_auto_window_update(options, 1)
    nghttp2_option_set_no_closed_streams(options, 1)
    // Resets are counted here, together with what explains them.
    nghttp2_option_set_stream_reset_rate_limit(options, 1 << 32, 1 << 32)
  }

  static let readData: nghttp2_data_source_read_callback = { _, _, into, room, flags, source, user in
    guard let into, let flags, let pointer = source?.pointee.ptr, let user else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    let slot = pointer.assumingMemoryBound(to: CallSlot.self)
    return Unmanaged<ServerConnection>.fromOpaque(user)._withUnsafeGuaranteedRef { $0.readData(slot, into, room, flags) }
  }

  @inline(__always)
  private static func connection(_ user: UnsafeMutableRawPointer, _ body: (ServerConnection) -> Void) {
    Unmanaged<ServerConnection>.fromOpaque(user)._withUnsafeGuaranteedRef { body($0) }
  }
}

extension ServerConnection {
  @inline(__always)
  func frameReceived(_ frame: UnsafePointer<nghttp2_frame>) {
    let ended = frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(frame.pointee.hd.type) {
    case NGHTTP2_DATA.rawValue:
      if ended, let slot = slot(of: frame.pointee.hd.stream_id) { inputEnded(slot) }
    case NGHTTP2_HEADERS.rawValue:
      headersSinceNanoseconds = 0
      if frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
        if let slot = current { headersComplete(slot, endStream: ended) }
      } else if ended, let slot = slot(of: frame.pointee.hd.stream_id) {
        // A client's trailers say nothing in gRPC.
        inputEnded(slot)
      }
    case NGHTTP2_SETTINGS.rawValue:
      // The preface is whole with the client's first SETTINGS.
      if phase == .handshake { phase = .open }
    case NGHTTP2_PING.rawValue:
      if frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { pingAnswered(frame.pointee.ping) }
    default: break
    }
  }
}
