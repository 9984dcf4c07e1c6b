internal import Glibc
internal import Kafka
internal import Synchronization

/// HTTP/2 connections that cost this process next to nothing: many that are open and idle, or some that send requests and never read what
/// comes back. Raw sockets and just enough of HTTP/2 (RFC 9113) for that; no client library would hold 10,000 of them as cheaply.
///
/// Idle ones acknowledge SETTINGS and PING, so that a server has no reason to close them. One thread owns the sockets.
public final class SilentConnections: @unchecked Sendable {
  public static let countMax = 50_000

  public enum Kind: Sendable {
    case idle
    /// Sends this ModelInfer request again and again, as long as the socket takes bytes, and reads nothing.
    case neverReading(request: [UInt8])
  }

  private struct Connection {
    var socket: Int32
    /// Received bytes of a frame that is not complete.
    var partial: [UInt8] = []
    /// Bytes that the socket did not take yet.
    var unsent: ArraySlice<UInt8> = []
    var nextStream: UInt32 = 1
  }

  private let kind: Kind
  private let host: String
  private let port: UInt16
  private let thread = Mutex<OwnerThread?>(nil)
  private let openCount = Atomic<Int>(0)
  private let closedCount = Atomic<Int>(0)
  private let sentRequests = Atomic<Int>(0)

  /// - Parameter host: an IPv4 address.
  public init(_ kind: Kind, host: String, port: UInt16) {
    self.kind = kind
    self.host = host
    self.port = port
  }

  public var open: Int { openCount.load(ordering: .relaxed) }
  /// Those that the server ended.
  public var closedByServer: Int { closedCount.load(ordering: .relaxed) }
  /// Requests that never-reading connections handed to their sockets.
  public var requests: Int { sentRequests.load(ordering: .relaxed) }

  /// Lets this process open so many sockets.
  /// - Throws: `LoadTestError` when the system does not allow that.
  public static func raiseFileLimit(_ count: Int) throws {
    let wanted = rlim_t(count)
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    if limit.rlim_cur >= wanted { return }
    limit.rlim_cur = min(wanted, max(limit.rlim_max, limit.rlim_cur))
    if limit.rlim_cur < wanted {
      limit.rlim_cur = wanted
      limit.rlim_max = wanted
    }
    guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      throw LoadTestError("This process may not open \(count) files: raise its limit (ulimit -n).")
    }
  }

  /// Connects all of them and returns when every one has sent its preface; then their thread keeps them.
  /// - Throws: `LoadTestError` with the socket's error.
  public func start(_ count: Int) throws {
    precondition(count > 0 && count <= Self.countMax, "\(count) connections")
    try Self.raiseFileLimit(count + 256)
    var connections: [Connection] = []
    connections.reserveCapacity(count)
    do {
      for _ in 0..<count { connections.append(try connect()) }
    } catch {
      for connection in connections { close(connection.socket) }
      throw error
    }
    let handed = Handed(connections)
    let started = OwnerThread(name: "silent") { [self] thread in run(handed.value, thread) }
    try started.start()
    thread.withLock { $0 = started }
  }

  public func stop() {
    let started = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    started?.requestStop()
    started?.join()
  }

  // MARK: Sockets

  private func connect() throws -> Connection {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw problem("A socket cannot be made") }
    if case .neverReading = kind {
      // Little room here, so that the server feels it soon.
      var bytes: Int32 = 4_096
      setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
      close(socket)
      throw LoadTestError("\"\(host)\" is not an IPv4 address; silent connections need one.")
    }
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else {
      let error = problem("No connection to \(host):\(port)")
      close(socket)
      throw error
    }
    _ = fcntl(socket, F_SETFL, O_NONBLOCK)
    var connection = Connection(socket: socket)
    connection.unsent = ArraySlice(Self.preface)
    send(&connection)
    openCount.add(1, ordering: .relaxed)
    return connection
  }

  private func problem(_ what: String) -> LoadTestError { LoadTestError("\(what): \(String(cString: strerror(errno))).") }

  /// Looking at all sockets costs some time for each, so an idle one's frames may wait for a moment.
  private static let idleWaitMilliseconds: Int32 = 200
  private static let askingWaitMilliseconds: Int32 = 10

  private func run(_ all: [Connection], _ thread: OwnerThread) {
    var connections = all
    let isReading = if case .idle = kind { true } else { false }
    // Of connections that never read only their end is of interest, which needs no asking for.
    let events = isReading ? Int16(POLLIN) : 0
    var polled = connections.map { pollfd(fd: $0.socket, events: events, revents: 0) }
    while !thread.isStopRequested {
      let found = poll(&polled, nfds_t(polled.count), isReading ? Self.idleWaitMilliseconds : Self.askingWaitMilliseconds)
      if found > 0 {
        for index in polled.indices where polled[index].revents != 0 {
          let isOver = polled[index].revents & Int16(POLLHUP | POLLERR) != 0
          if !isOver && (!isReading || read(&connections[index])) { continue }
          close(connections[index].socket)
          connections[index].socket = -1
          polled[index].fd = -1
          openCount.subtract(1, ordering: .relaxed)
          closedCount.add(1, ordering: .relaxed)
        }
      }
      if case .neverReading(let request) = kind {
        for index in connections.indices where connections[index].socket >= 0 { ask(&connections[index], request) }
      } else if found > 0 {
        // What comes in the same moment is looked at together.
        usleep(1_000)
      }
    }
    for connection in connections where connection.socket >= 0 { close(connection.socket) }
  }

  /// - Returns: false when the server has ended the connection.
  private func read(_ connection: inout Connection) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = recv(connection.socket, &buffer, buffer.count, 0)
      if count == 0 { return false }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      connection.partial += buffer[0..<count]
      answerFrames(&connection)
    }
  }

  /// Acknowledges SETTINGS and PING; skips everything else.
  private func answerFrames(_ connection: inout Connection) {
    var at = 0
    let bytes = connection.partial
    while bytes.count - at >= 9 {
      let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
      guard bytes.count - at >= 9 + length else { break }
      let isAcknowledgement = bytes[at + 4] & 1 != 0
      switch bytes[at + 3] {
      case 4 where !isAcknowledgement: connection.unsent += [0, 0, 0, 4, 1, 0, 0, 0, 0]
      case 6 where !isAcknowledgement: connection.unsent += [0, 0, UInt8(length & 255), 6, 1, 0, 0, 0, 0] + bytes[(at + 9)..<(at + 9 + length)]
      default: break
      }
      at += 9 + length
    }
    connection.partial.removeFirst(at)
    send(&connection)
  }

  /// Fills the socket with requests.
  private func ask(_ connection: inout Connection, _ request: [UInt8]) {
    for _ in 0..<64 {
      if connection.unsent.isEmpty {
        guard connection.nextStream < 0x7FFF_0000 else { return }
        connection.unsent = ArraySlice(Self.request(request, stream: connection.nextStream, authority: "\(host):\(port)"))
        connection.nextStream += 2
        sentRequests.add(1, ordering: .relaxed)
      }
      send(&connection)
      if !connection.unsent.isEmpty { return }
    }
  }

  private func send(_ connection: inout Connection) {
    while !connection.unsent.isEmpty {
      let sent = connection.unsent.withUnsafeBytes { Glibc.send(connection.socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else { return }
      connection.unsent.removeFirst(sent)
    }
  }

  // MARK: HTTP/2

  /// The preface and empty SETTINGS.
  static let preface: [UInt8] = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]

  /// A ModelInfer call: HEADERS without compression of names (RFC 7541, literals that are not indexed), then DATA in frames of 16 KiB.
  static func request(_ message: [UInt8], stream: UInt32, authority: String) -> [UInt8] {
    func text(_ value: String) -> [UInt8] {
      let bytes = Array(value.utf8)
      precondition(bytes.count < 127, "a literal of \(bytes.count) bytes")
      return [UInt8(bytes.count)] + bytes
    }
    func frame(_ type: UInt8, _ flags: UInt8, _ payload: some Collection<UInt8>) -> [UInt8] {
      let length = payload.count
      return [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags]
        + [24, 16, 8, 0].map { UInt8(stream >> UInt32($0) & 255) } + payload
    }
    let headers: [UInt8] =
      [0x83, 0x86, 0x04] + text("/inference.GRPCInferenceService/ModelInfer") + [0x01] + text(authority)
      + [0x0F, 0x10] + text("application/grpc") + [0x00] + text("te") + text("trailers")
    let length = UInt32(truncatingIfNeeded: message.count)
    let data = [0] + [24, 16, 8, 0].map { UInt8(length >> UInt32($0) & 255) } + message
    var out = frame(1, 4, headers)
    var at = 0
    while at < data.count {
      let end = min(data.count, at + 16_384)
      out += frame(0, end == data.count ? 1 : 0, data[at..<end])
      at = end
    }
    return out
  }
}
