import Logging
import NIOCore
import NIOEmbedded
@testable import RPC
import Synchronization
import Telemetry

// The server's end of a connection, fed bytes: whatever comes, every call's place and every byte held for it is given back when the
// connection closes, and what is sent stays within a bound.

/// Bytes as they are. The first byte says in which pieces they arrive, and whether a good preface goes before.
func rpcServerBytes() -> (UnsafeRawBufferPointer) -> Void {
  var sandbox = ServerSandbox()
  return { input in
    guard let how = input.first, input.count < 1 << 16 else { return }
    let bytes = Array(input.dropFirst())
    sandbox = sandbox.fresh()
    sandbox.use(how & 0x80 != 0 ? bytes : FrameScript.preface + bytes, piece: [1, 3, 9, 50, 1_000, 1 << 16][Int(how & 0x7f) % 6])
  }
}

/// A script of frames: kind, flags, stream and length in four bytes, then the payload. Their lengths are right, and header blocks may
/// begin with those of a good call, so that mutations reach what lies behind the framing.
func rpcServerFrames() -> (UnsafeRawBufferPointer) -> Void {
  var sandbox = ServerSandbox()
  return { input in
    guard let how = input.first, input.count < 1 << 16 else { return }
    sandbox = sandbox.fresh()
    sandbox.use(FrameScript.preface + FrameScript.frames(input.dropFirst()), piece: how & 1 == 0 ? 1 << 16 : 37)
  }
}

/// Frames from a script. Source of their form: RFC 9113, section 4.1.
enum FrameScript {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
  static let paths = ["/fuzz.Echo/Unary", "/fuzz.Echo/Chat", "/fuzz.Echo/Hold", "/fuzz.Echo/Paused", "/fuzz.Echo/None"]

  static func frames(_ script: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
    var frames: [UInt8] = []
    var rest = script
    while rest.count >= 4 {
      let fields = Array(rest.prefix(4))
      let (kind, flags, stream, count) = (fields[0], fields[1], fields[2], fields[3])
      rest = rest.dropFirst(4)
      var payload = Array(rest.prefix(Int(count)))
      rest = rest.dropFirst(payload.count)
      // The upper bits of the kind ask for a good call's headers, or a message's prefix, before the payload.
      switch kind & 0xf0 {
      case 0x10: payload = headers(paths[Int(kind & 7) % paths.count], []) + payload
      case 0x20: payload = headers(paths[Int(kind & 7) % paths.count], [("grpc-encoding", "gzip"), ("grpc-timeout", "1S")]) + payload
      case 0x30: payload = [kind & 1, 0, 0, 0, UInt8(truncatingIfNeeded: payload.count)] + payload
      default: break
      }
      let type: UInt8 =
        switch kind & 0xf0 {
        case 0x10, 0x20: 1
        case 0x30: 0
        default: kind & 0x0f
        }
      let length = payload.count
      frames += [0, UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length), type, flags, 0, 0, 0, stream]
      frames += payload
    }
    return frames
  }

  private static func headers(_ path: String, _ more: [(String, String)]) -> [UInt8] {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc"), ("te", "trailers")] + more
    var block: [UInt8] = []
    for (name, value) in fields {
      block += [0, UInt8(name.utf8.count)]
      block += Array(name.utf8)
      block.append(UInt8(value.utf8.count))
      block += Array(value.utf8)
    }
    return block
  }
}

/// A loop without a thread, and connections without a socket. Replaced now and then, so that what earlier inputs left behind stays small.
private final class ServerSandbox {
  private static let inputsMax = 2_000
  private let eventLoop = EmbeddedEventLoop()
  private let loop: ServerLoop
  private var inputs = 0

  init() {
    var settings = RPCServerSettings()
    settings.loops = 1
    settings.messageBytesMax = 1 << 20
    settings.heldBytesMax = 4 << 20
    settings.streamsMax = 20
    guard let loop = ServerLoop(index: 0, eventLoop: eventLoop, settings: settings, metrics: ServerMetrics(Registry(), listener: "fuzz"))
    else { fatalError("no loop") }
    self.loop = loop
    loop.start([
      RPCService(
        name: "fuzz.Echo",
        methods: [
          RPCMethod("Unary", .unary) { Echo(loop: $0) }, RPCMethod("Chat", .streaming) { Chat(loop: $0) },
          RPCMethod("Hold", .unary) { MethodHandler(loop: $0) }, RPCMethod("Paused", .streaming) { Paused(loop: $0) },
        ])
    ])
  }

  func fresh() -> ServerSandbox {
    inputs += 1
    guard inputs > Self.inputsMax else { return self }
    loop.stop()
    return ServerSandbox()
  }

  func use(_ bytes: [UInt8], piece: Int) {
    let connection = ServerConnection(loop: loop, isTLS: false)
    loop.metrics.connectionCount.wrappingAdd(1, ordering: .relaxed)
    let channel = EmbeddedChannel(handler: connection, loop: eventLoop)
    channel.connect(to: address, promise: nil)
    var sent = 0
    func take() {
      while let output = try? channel.readOutbound(as: ByteBuffer.self) { sent += output.readableBytes }
    }
    var rest = bytes[...]
    while !rest.isEmpty, channel.isActive {
      var buffer = channel.allocator.buffer(capacity: piece)
      buffer.writeBytes(rest.prefix(piece))
      rest = rest.dropFirst(piece)
      _ = try? channel.writeInbound(buffer)
      take()
    }
    eventLoop.advanceTime(by: .seconds(2))
    take()
    check(loop.calls.occupied <= 20, "\(loop.calls.occupied) calls of one connection that may have 20")
    check(loop.heldBytes >= 0 && loop.heldBytes <= 4 << 20, "\(loop.heldBytes) bytes are held")
    // Every byte in may ask for a frame or two, and an echo: inflated messages are bounded by what may be pending.
    check(sent <= 64 * bytes.count + (8 << 20), "\(sent) bytes were sent for \(bytes.count)")
    _ = try? channel.finish(acceptAlreadyClosed: true)
    eventLoop.run()
    check(loop.calls.occupied == 0, "\(loop.calls.occupied) calls are left of a closed connection")
    check(loop.heldBytes == 0, "\(loop.heldBytes) bytes are left of a closed connection")
    check(loop.connections.isEmpty, "a closed connection is still known")
    check(loop.deadlines.first == nil, "a deadline is left of a closed connection")
  }

  private let address: SocketAddress = {
    guard let address = try? SocketAddress(ipAddress: "127.0.0.1", port: 1) else { fatalError("no address") }
    return address
  }()

  private final class Echo: MethodHandler {
    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
  }

  /// Echoes, and stops reading now and then; 'x' ends the call with an error, from within a message.
  private final class Chat: MethodHandler {
    private var count = 0

    override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
      count += 1
      if bytes.first == UInt8(ascii: "x") { return loop.fail(call, .aborted, bytes) }
      loop.send(call, bytes)
      if count % 3 == 0 {
        loop.pauseReading(call)
        loop.execute { [loop] in loop.resumeReading(call) }
      }
    }

    override func halfClosed(_ call: Call) { loop.finish(call) }
  }

  private final class Paused: MethodHandler {
    override func opened(_ call: Call) { loop.pauseReading(call) }
  }
}

/// First inputs: calls as they should be, and some that are not.
enum FrameScriptSeeds {
  static let frames: [[UInt8]] = [
    // A unary call in one read; a stream of three messages; a call that is reset; one beyond the windows.
    [0, 0x10, 0x04, 1, 0, 0x30, 0x01, 1, 3, 1, 2, 3],
    [0, 0x11, 0x04, 1, 0, 0x30, 0, 1, 2, 1, 2, 0x30, 0, 1, 0, 0x30, 0, 1, 1, 120, 0, 1, 1, 0],
    [1, 0x12, 0x04, 1, 0, 0x30, 0x01, 1, 1, 9, 3, 0, 1, 4, 0, 0, 0, 8],
    [0, 0x13, 0x04, 1, 0, 0x30, 0, 1, 4, 1, 2, 3, 4, 8, 0, 1, 4, 0x7f, 0xff, 0xff, 0xff],
    [0, 0x20, 0x04, 3, 0, 0x31, 0x01, 3, 4, 0x1f, 0x8b, 8, 0],
    [0, 4, 0, 0, 6, 0, 4, 0, 0, 0, 0, 6, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 7, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 1, 2, 0x82, 0x86, 9, 4, 1, 1, 0x84, 0x14, 0x05, 1, 0],
  ]

  static let bytes: [[UInt8]] =
    frames.map { frames in frames.withUnsafeBytes { [4] + FrameScript.frames($0.dropFirst()) } }
    + [[0x84] + Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8), [0x80] + FrameScript.preface, [0x81] + Array(FrameScript.preface.prefix(11))]
}
