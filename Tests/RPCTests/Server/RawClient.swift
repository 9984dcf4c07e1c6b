import CNGHTTP2
import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// HTTP/2 by hand over a blocking socket, so that a test can send what no library would: frames are written as bytes, headers without
/// compression; what comes back is split into frames, and nghttp2 only unpacks its headers.
final class RawClient {
  /// How long an answer may take: on a machine of two busy processors tests keep each other waiting for many seconds.
  static let patienceNanoseconds: UInt64 = 60_000_000_000

  struct Frame: CustomStringConvertible {
    var type: UInt8
    var flags: UInt8
    var stream: Int32
    var payload: [UInt8]
    /// Of HEADERS.
    var headers: [(String, String)] = []

    var endsStream: Bool { (type == 0 || type == 1) && flags & 1 != 0 }
    /// The four bytes at `offset`, for codes and increments.
    func number(_ offset: Int = 0) -> UInt32 {
      guard payload.count >= offset + 4 else { return .max }
      return payload[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    subscript(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }
    var description: String { "frame(type \(type), flags \(flags), stream \(stream), \(payload.count) bytes \(headers))" }
  }

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// What a call came to.
  struct Answer {
    var headers: [(String, String)] = []
    var trailers: [(String, String)] = []
    var data: [UInt8] = []
    /// Of RST_STREAM.
    var reset: UInt32?
    func trailer(_ name: String) -> String? { trailers.first { $0.0 == name }?.1 ?? headers.first { $0.0 == name }?.1 }
    func header(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }
    var status: String? { trailer("grpc-status") }
    /// The messages, without their prefixes.
    var messages: [[UInt8]] {
      var rest = data[...]
      var messages: [[UInt8]] = []
      while rest.count >= 5 {
        let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard rest.count >= 5 + length else { break }
        messages.append(Array(rest.dropFirst(5).prefix(length)))
        rest = rest.dropFirst(5 + length)
      }
      return messages
    }
  }

  let socket: Int32
  private var inflater: OpaquePointer?
  private var received: [UInt8] = []
  /// Frames that were read while another was waited for.
  private(set) var log: [Frame] = []
  private var nextStream: Int32 = 1
  private(set) var isClosed = false
  /// Bytes of window that were given back, by stream; 0 is the connection.
  private(set) var windows: [Int32: Int] = [:]
  private(set) var answers: [Int32: Answer] = [:]
  private(set) var finished: Set<Int32> = []
  private(set) var goaways: [(last: UInt32, code: UInt32)] = []
  private(set) var pingAnswers = 0
  private(set) var serverSettings: [UInt16: UInt32] = [:]
  /// Windows are given back for all that comes, unless this is false.
  var givesWindow = true
  var answersPings = true

  /// Connects; with `handshake`, sends the preface and SETTINGS.
  init(port: Int, handshake: Bool = true, settings: [(UInt16, UInt32)] = []) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard result == 0 else { throw Failure(description: "cannot connect to port \(port): errno \(errno)") }
    var on: Int32 = 1
    setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    nghttp2_hd_inflate_new(&inflater)
    if handshake {
      try send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
      try sendSettings(settings)
    }
  }

  deinit {
    close(socket)
    if let inflater { nghttp2_hd_inflate_del(inflater) }
  }

  // MARK: Sending

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else {
        isClosed = true
        throw Failure(description: "cannot send: errno \(errno)")
      }
      sent += count
    }
  }

  static func frame(_ type: UInt8, flags: UInt8 = 0, stream: Int32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let count = payload.count
    return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags] + bytes(UInt32(bitPattern: stream)) + payload
  }

  static func bytes(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> UInt32(24 - $0 * 8)) } }

  func sendSettings(_ settings: [(UInt16, UInt32)] = []) throws {
    try send(Self.frame(4, settings.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + Self.bytes($0.1) }))
  }

  static func ping(_ number: UInt8 = 0, ack: Bool = false) -> [UInt8] { frame(6, flags: ack ? 1 : 0, Array(repeating: number, count: 8)) }
  static func reset(_ stream: Int32, _ code: UInt32 = 8) -> [UInt8] { frame(3, stream: stream, bytes(code)) }
  static func windowUpdate(_ stream: Int32, _ increment: UInt32) -> [UInt8] { frame(8, stream: stream, bytes(increment)) }

  static let usual: [(String, String)] = [
    (":method", "POST"), (":scheme", "http"), (":path", "/test.Service/Echo"), (":authority", "test"), ("te", "trailers"),
    ("content-type", "application/grpc"),
  ]

  /// Headers with some of the usual ones replaced, left out (empty) or added.
  static func headers(_ changes: [(String, String)]) -> [(String, String)] {
    var headers = usual
    for (name, value) in changes {
      if let index = headers.firstIndex(where: { $0.0 == name }) {
        if value.isEmpty { headers.remove(at: index) } else { headers[index].1 = value }
      } else {
        headers.append((name, value))
      }
    }
    return headers
  }

  /// A header block of literals without compression.
  static func block(_ headers: [(String, String)]) -> [UInt8] {
    func string(_ text: String) -> [UInt8] {
      let count = text.utf8.count
      guard count >= 127 else { return [UInt8(count)] + Array(text.utf8) }
      var bytes: [UInt8] = [127]
      var rest = count - 127
      while rest >= 128 {
        bytes.append(UInt8(rest & 127) | 128)
        rest >>= 7
      }
      return bytes + [UInt8(rest)] + Array(text.utf8)
    }
    return headers.flatMap { [0] + string($0.0) + string($0.1) }
  }

  func takeStream() -> Int32 {
    defer { nextStream += 2 }
    return nextStream
  }

  static func headersFrame(_ stream: Int32, _ changes: [(String, String)] = [], endStream: Bool = false) -> [UInt8] {
    let block = block(headers(changes))
    guard block.count > 16_000 else { return frame(1, flags: 4 | (endStream ? 1 : 0), stream: stream, block) }
    var bytes = frame(1, flags: endStream ? 1 : 0, stream: stream, Array(block.prefix(16_000)))
    var rest = block.dropFirst(16_000)
    while !rest.isEmpty {
      let part = rest.prefix(16_000)
      rest = rest.dropFirst(16_000)
      bytes += frame(9, flags: rest.isEmpty ? 4 : 0, stream: stream, Array(part))
    }
    return bytes
  }

  /// Opens a call and returns its stream.
  func open(_ changes: [(String, String)] = [], endStream: Bool = false) throws -> Int32 {
    let stream = takeStream()
    try send(Self.headersFrame(stream, changes, endStream: endStream))
    return stream
  }

  static func message(_ bytes: [UInt8], flag: UInt8 = 0) -> [UInt8] { [flag] + Self.bytes(UInt32(bytes.count)) + bytes }

  static func dataFrames(_ stream: Int32, _ bytes: [UInt8], endStream: Bool, size: Int = 16_384) -> [UInt8] {
    var frames: [UInt8] = []
    var offset = 0
    repeat {
      let part = bytes[offset..<min(offset + size, bytes.count)]
      offset += part.count
      frames += frame(0, flags: endStream && offset == bytes.count ? 1 : 0, stream: stream, Array(part))
    } while offset < bytes.count
    return frames
  }

  func sendData(_ stream: Int32, _ bytes: [UInt8], endStream: Bool = false, size: Int = 16_384) throws {
    try send(Self.dataFrames(stream, bytes, endStream: endStream, size: size))
  }

  // MARK: Receiving

  /// Reads frames until `done`; fails after a minute or when the connection ends first.
  func read(until what: String, _ done: (RawClient) -> Bool) throws {
    let end = DispatchTime.now().uptimeNanoseconds + Self.patienceNanoseconds
    while !done(self) {
      guard !isClosed else { throw Failure(description: "the connection ended, waiting for \(what); got \(log.suffix(5))") }
      guard DispatchTime.now().uptimeNanoseconds < end else {
        throw Failure(description: "waited too long for \(what); got \(log.suffix(8))")
      }
      try readSome(timeoutMilliseconds: 1000)
    }
  }

  /// Takes what is there within a time, which may be nothing.
  func readSome(timeoutMilliseconds: Int32) throws {
    var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, timeoutMilliseconds) > 0 else { return }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = recv(socket, &buffer, buffer.count, 0)
    if count <= 0 {
      isClosed = true
      return
    }
    received += buffer[0..<count]
    var offset = 0
    while received.count - offset >= 9 {
      let length = Int(received[offset]) << 16 | Int(received[offset + 1]) << 8 | Int(received[offset + 2])
      guard received.count - offset >= 9 + length else { break }
      let head = received[offset..<offset + 9].map { UInt32($0) }
      let frame = Frame(
        type: UInt8(head[3]), flags: UInt8(head[4]), stream: Int32(bitPattern: (head[5] & 127) << 24 | head[6] << 16 | head[7] << 8 | head[8]),
        payload: Array(received[(offset + 9)..<(offset + 9 + length)]))
      offset += 9 + length
      try take(frame)
    }
    received.removeFirst(offset)
  }

  /// Bytes as they come, for what is no HTTP/2.
  func readText() throws -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      guard poll(&descriptor, 1, 10_000) > 0 else { throw Failure(description: "nothing came") }
      let count = recv(socket, &buffer, buffer.count, 0)
      if count <= 0 { return String(decoding: text, as: UTF8.self) }
      text += buffer[0..<count]
    }
  }

  private func take(_ read: Frame) throws {
    var frame = read
    if frame.type == 1 { frame.headers = try inflate(frame.payload) }
    log.append(frame)
    var answer = answers[frame.stream] ?? Answer()
    switch frame.type {
    case 0:
      answer.data += frame.payload
      if givesWindow, !frame.payload.isEmpty {
        try? send(Self.windowUpdate(0, UInt32(frame.payload.count)) + Self.windowUpdate(frame.stream, UInt32(frame.payload.count)))
      }
    case 1: if answer.headers.isEmpty { answer.headers = frame.headers } else { answer.trailers = frame.headers }
    case 3: answer.reset = frame.number()
    case 4:
      if frame.flags & 1 == 0 {
        for entry in stride(from: 0, to: frame.payload.count, by: 6) {
          serverSettings[UInt16(frame.payload[entry]) << 8 | UInt16(frame.payload[entry + 1])] = frame.number(entry + 2)
        }
        try? send(Self.frame(4, flags: 1))
      }
    case 6:
      if frame.flags & 1 != 0 { pingAnswers += 1 } else if answersPings { try? send(Self.frame(6, flags: 1, frame.payload)) }
    case 7: goaways.append((frame.number() & 0x7fff_ffff, frame.number(4)))
    case 8: windows[frame.stream, default: 0] += Int(frame.number())
    default: break
    }
    if frame.stream != 0 { answers[frame.stream] = answer }
    if frame.endsStream || frame.type == 3 { finished.insert(frame.stream) }
  }

  private func inflate(_ block: [UInt8]) throws -> [(String, String)] {
    var headers: [(String, String)] = []
    var offset = 0
    while true {
      var pair = nghttp2_nv()
      var flags: Int32 = 0
      let count = block.withUnsafeBufferPointer {
        nghttp2_hd_inflate_hd2(inflater, &pair, &flags, $0.baseAddress.map { $0 + offset }, block.count - offset, 1)
      }
      guard count >= 0 else { throw Failure(description: "headers cannot be unpacked: \(count)") }
      offset += count
      if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
        headers.append((
          String(decoding: UnsafeBufferPointer(start: pair.name, count: pair.namelen), as: UTF8.self),
          String(decoding: UnsafeBufferPointer(start: pair.value, count: pair.valuelen), as: UTF8.self)
        ))
      }
      if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 {
        nghttp2_hd_inflate_end_headers(inflater)
        return headers
      }
    }
  }

  // MARK: Calls

  /// The whole of a call's answer.
  func answer(_ stream: Int32) throws -> Answer {
    try read(until: "the answer of stream \(stream)") { $0.finished.contains(stream) }
    return answers[stream] ?? Answer()
  }

  /// A unary call from beginning to end.
  func call(_ changes: [(String, String)] = [], _ body: [UInt8], size: Int = 16_384) throws -> Answer {
    let stream = try open(changes)
    try sendData(stream, body, endStream: true, size: size)
    return try answer(stream)
  }

  /// Asks for a PING back: everything sent before has been looked at when it comes.
  func roundTrip() throws {
    let wanted = pingAnswers + 1
    try send(Self.ping(9))
    try read(until: "the answer to a ping") { $0.pingAnswers >= wanted }
  }

  func waitForClose() throws {
    let end = DispatchTime.now().uptimeNanoseconds + Self.patienceNanoseconds
    while !isClosed {
      guard DispatchTime.now().uptimeNanoseconds < end else { throw Failure(description: "the connection does not end; got \(log.suffix(5))") }
      try readSome(timeoutMilliseconds: 1000)
    }
  }
}
