import CNGHTTP2
import Foundation
import Telemetry

/// A plain socket that speaks as much HTTP/2 as a test lets it: nothing is sent but what the test sends, and the acknowledgements and
/// windows that it did not switch off. Blocking, with deadlines; for one thread.
final class AttackConnection {
  struct Failure: Error, CustomStringConvertible { let description: String }

  /// What came back on one stream.
  struct Answer {
    var headers: [(name: String, value: String)] = []
    var trailers: [(name: String, value: String)] = []
    var data: [UInt8] = []
    var resetCode: UInt32?
    var hasEnded = false

    var isOver: Bool { hasEnded || resetCode != nil }
    subscript(_ name: String) -> String? { (trailers + headers).first { $0.name == name }?.value }
    /// `grpc-status` as a number, nil when there was none.
    var status: Int? { self["grpc-status"].flatMap { Int($0) } }
    /// The messages without their prefixes; nil when they are not whole.
    var messages: [[UInt8]]? {
      var messages: [[UInt8]] = []
      var rest = data[...]
      while !rest.isEmpty {
        guard rest.count >= 5 else { return nil }
        let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard rest.count >= 5 + length else { return nil }
        messages.append(Array(rest.dropFirst(5).prefix(length)))
        rest = rest.dropFirst(5 + length)
      }
      return messages
    }
  }

  private let descriptor: Int32
  private var input: [UInt8] = []
  private var inflater: OpaquePointer?
  private var block: (stream: UInt32, ends: Bool, bytes: [UInt8])?

  private(set) var answers: [UInt32: Answer] = [:]
  private(set) var goAways: [(last: UInt32, code: UInt32)] = []
  private(set) var pongs = 0
  private(set) var settings: [UInt16: UInt32] = [:]
  private(set) var settingsAcknowledgements = 0
  private(set) var windowUpdates: [UInt32: Int] = [:]
  private(set) var bytesReceived = 0
  private var dataSent = 0
  /// What the connection's window still takes.
  var windowLeft: Int { 65_535 + (windowUpdates[0] ?? 0) - dataSent }
  /// The peer closed or reset the connection.
  private(set) var isClosed = false
  /// Bytes of the input that make no frame are kept as they are (an HTTP/1 answer).
  var rawInput: [UInt8] { input }

  var acknowledgesSettings = true
  var answersPings = true
  var opensWindows = true
  var parsesFrames = true

  /// - Parameter receiveBufferBytes: the kernel's buffer, small for a client that does not read.
  init(port: Int, receiveBufferBytes: Int32? = nil) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failure(description: "no socket: \(errno)") }
    if var bytes = receiveBufferBytes {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }
    var one: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port)).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard connected == 0 else {
      let code = errno
      close(descriptor)
      throw Failure(description: "not connected: \(code)")
    }
    nghttp2_hd_inflate_new(&inflater)
  }

  deinit {
    nghttp2_hd_inflate_del(inflater)
    close(descriptor)
  }

  /// Preface and settings.
  func begin(_ entries: [(id: UInt16, value: UInt32)] = []) { send(AttackWire.preface + AttackWire.settings(entries)) }

  /// DATA within the connection's window, which `windowLeft` then counts.
  @discardableResult func sendData(_ stream: UInt32, _ bytes: [UInt8], end: Bool = false) -> Bool {
    dataSent += bytes.count
    return send(AttackWire.data(stream, bytes, end: end))
  }

  /// All that a stream's window has taken and takes.
  func streamWindow(_ stream: UInt32) -> Int { Int(settings[4] ?? 65_535) + (windowUpdates[stream] ?? 0) }

  /// Sends what the peer takes within `seconds`; false when it is gone or takes no more.
  @discardableResult func send(_ bytes: [UInt8], seconds: Double = 20) -> Bool {
    var sent = 0
    let deadline = MonotonicClock.nanoseconds() + Int64(seconds * 1e9)
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
      }
      if count > 0 {
        sent += count
      } else if count < 0, errno == EAGAIN || errno == EWOULDBLOCK {
        let left = (deadline - MonotonicClock.nanoseconds()) / 1_000_000
        guard left > 0 else { return false }
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&poller, 1, Int32(min(left, 1_000)))
      } else if count < 0, errno == EINTR {
        continue
      } else {
        return false
      }
    }
    return true
  }

  func shutDownWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Reads until `done`, the peer closes, or the deadline, which throws.
  func read(_ what: String, seconds: Double = 20, until done: (AttackConnection) -> Bool) throws {
    let deadline = MonotonicClock.nanoseconds() + Int64(seconds * 1e9)
    while !done(self), !isClosed {
      let left = (deadline - MonotonicClock.nanoseconds()) / 1_000_000
      guard left > 0 else { throw Failure(description: "waited \(seconds) s for \(what)") }
      try readOnce(milliseconds: Int32(min(left, 1_000)))
    }
  }

  /// Reads what is there, at most once.
  func readOnce(milliseconds: Int32) throws {
    var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&poller, 1, milliseconds) > 0 else { return }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
    if count < 0, errno == EAGAIN || errno == EINTR { return }
    guard count > 0 else {
      isClosed = true
      return
    }
    bytesReceived += count
    input += buffer[..<count]
    if parsesFrames { try takeFrames() }
  }

  /// The answer on a stream, whole or reset; throws when the connection ends before.
  func answer(_ stream: UInt32, seconds: Double = 20) throws -> Answer {
    try read("the answer of stream \(stream)", seconds: seconds) { $0.answers[stream]?.isOver == true }
    guard let answer = answers[stream], answer.isOver else {
      throw Failure(description: "closed without an answer on stream \(stream), GOAWAY \(goAways)")
    }
    return answer
  }

  /// Drops what is known of a stream.
  func forget(_ stream: UInt32) { answers[stream] = nil }

  /// Reads until the peer has closed, or has said GOAWAY with an error code; throws when it does not.
  func readToEnd(seconds: Double = 20) throws {
    try read("the end of the connection", seconds: seconds) { $0.goAways.contains { $0.code != 0 } }
  }

  private func takeFrames() throws {
    var at = 0
    defer { input.removeFirst(at) }
    while input.count - at >= 9 {
      let length = Int(input[at]) << 16 | Int(input[at + 1]) << 8 | Int(input[at + 2])
      guard input.count - at >= 9 + length else { return }
      let kind = AttackWire.Kind(rawValue: input[at + 3])
      let flags = input[at + 4]
      let stream = number(input[(at + 5)...]) & 0x7fff_ffff
      let payload = input[(at + 9)..<(at + 9 + length)]
      at += 9 + length
      if let kind { try take(kind, flags, stream, payload) }
    }
  }

  private func take(_ kind: AttackWire.Kind, _ flags: UInt8, _ stream: UInt32, _ payload: ArraySlice<UInt8>) throws {
    switch kind {
    case .data:
      answers[stream, default: Answer()].data += payload
      if flags & AttackWire.endStream != 0 { answers[stream]?.hasEnded = true }
      if opensWindows, !payload.isEmpty {
        send(AttackWire.windowUpdate(0, UInt32(payload.count)) + AttackWire.windowUpdate(stream, UInt32(payload.count)))
      }
    case .headers, .continuation:
      if kind == .headers { block = (stream, flags & AttackWire.endStream != 0, []) }
      guard var open = block, open.stream == stream else { throw Failure(description: "a CONTINUATION out of order") }
      open.bytes += payload
      block = open
      guard flags & AttackWire.endHeaders != 0 else { return }
      block = nil
      let fields = try inflate(open.bytes)
      var answer = answers[stream] ?? Answer()
      if answer.headers.isEmpty { answer.headers = fields } else { answer.trailers = fields }
      answer.hasEnded = answer.hasEnded || open.ends
      answers[stream] = answer
    case .reset:
      answers[stream, default: Answer()].resetCode = number(payload)
    case .settings:
      if flags & AttackWire.acknowledge != 0 {
        settingsAcknowledgements += 1
      } else {
        var rest = payload
        while rest.count >= 6 {
          settings[UInt16(rest[rest.startIndex]) << 8 | UInt16(rest[rest.startIndex + 1])] = number(rest.dropFirst(2))
          rest = rest.dropFirst(6)
        }
        if acknowledgesSettings { send(AttackWire.settingsAcknowledged) }
      }
    case .ping:
      if flags & AttackWire.acknowledge != 0 {
        pongs += 1
      } else if answersPings {
        send(AttackWire.frame(.ping, flags: AttackWire.acknowledge, Array(payload)))
      }
    case .goAway:
      goAways.append((number(payload) & 0x7fff_ffff, number(payload.dropFirst(4))))
    case .windowUpdate:
      windowUpdates[stream, default: 0] += Int(number(payload))
    case .priority, .pushPromise:
      break
    }
  }

  private func number(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }

  private func inflate(_ block: [UInt8]) throws -> [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    var rest = block[...]
    while true {
      var pair = nghttp2_nv()
      var flags: Int32 = 0
      let used = rest.withUnsafeBytes {
        nghttp2_hd_inflate_hd2(inflater, &pair, &flags, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), $0.count, 1)
      }
      guard used >= 0 else { throw Failure(description: "a header block that cannot be read: \(used)") }
      rest = rest.dropFirst(used)
      if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
        func text(_ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> String {
          String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
        }
        fields.append((text(pair.name, pair.namelen), text(pair.value, pair.valuelen)))
      }
      if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
        nghttp2_hd_inflate_end_headers(inflater)
        return fields
      }
      if used == 0, flags == 0 { throw Failure(description: "a header block that does not end") }
    }
  }
}

/// Runs blocking work on a thread of its own, so that the threads of Swift concurrency stay free for the server's.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    let thread = Thread { continuation.resume(with: Result { try body() }) }
    thread.stackSize = 1 << 20
    thread.start()
  }
}
