import NIOCore
import NIOPosix
import Synchronization

/// A server that speaks HTTP/2 by hand: sends SETTINGS, and answers each request's header block as the script says, so that tests decide
/// every byte that a client gets.
final class ScriptedServer: Sendable {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let channel: any Channel
  let port: Int

  /// `script` gets the stream's number and how many requests came before, over all connections; what it returns is sent.
  init(settings: [UInt8] = ScriptedServer.settings(), script: @escaping @Sendable (UInt32, Int) -> [UInt8]) async throws {
    let count = RequestCount()
    channel = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Handler(settings: settings, count: count, script: script))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    port = channel.localAddress?.port ?? 0
  }

  func stop() async {
    try? await channel.close()
    try? await group.shutdownGracefully()
  }

  // MARK: Frames

  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> [UInt8] {
    let length = UInt32(payload.count)
    return [UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length), type, flags]
      + bytes(stream) + payload
  }

  static func settings(streamsMax: UInt32? = nil) -> [UInt8] { frame(4, 0, 0, streamsMax.map { [0, 3] + bytes($0) } ?? []) }

  /// Fields as literals without indexing.
  static func headers(_ stream: UInt32, _ fields: [(String, String)], ends: Bool) -> [UInt8] {
    var block: [UInt8] = []
    for (name, value) in fields {
      precondition(name.utf8.count < 127 && value.utf8.count < 127, "\(name)")
      block += [0, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
    }
    return frame(1, ends ? 5 : 4, stream, block)
  }

  static func data(_ stream: UInt32, _ payload: [UInt8], ends: Bool = false) -> [UInt8] { frame(0, ends ? 1 : 0, stream, payload) }
  static func reset(_ stream: UInt32, _ code: UInt32) -> [UInt8] { frame(3, 0, stream, bytes(code)) }
  static func goAway(last: UInt32, code: UInt32 = 0) -> [UInt8] { frame(7, 0, 0, bytes(last) + bytes(code)) }
  static func message(_ bytes: [UInt8], flag: UInt8 = 0) -> [UInt8] { [flag] + Self.bytes(UInt32(bytes.count)) + bytes }

  /// A whole good answer.
  static func answer(_ stream: UInt32, _ message: [UInt8]) -> [UInt8] {
    headers(stream, [(":status", "200"), ("content-type", "application/grpc")], ends: false) + data(stream, Self.message(message))
      + headers(stream, [("grpc-status", "0")], ends: true)
  }

  private static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * UInt32($0))) } }

  private final class RequestCount: Sendable {
    private let value = Atomic<Int>(0)
    func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let settings: [UInt8]
    private let count: RequestCount
    private let script: @Sendable (UInt32, Int) -> [UInt8]
    private var input = ByteBuffer()
    private var hasPreface = false

    init(settings: [UInt8], count: RequestCount, script: @escaping @Sendable (UInt32, Int) -> [UInt8]) {
      self.settings = settings
      self.count = count
      self.script = script
    }

    func channelActive(context: ChannelHandlerContext) { send(settings, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var buffer = unwrapInboundIn(data)
      input.writeBuffer(&buffer)
      if !hasPreface {
        guard input.readableBytes >= 24 else { return }
        input.moveReaderIndex(forwardBy: 24)
        hasPreface = true
      }
      while let head = input.getBytes(at: input.readerIndex, length: 9) {
        let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        guard input.readableBytes >= 9 + length else { return }
        input.moveReaderIndex(forwardBy: 9 + length)
        guard head[3] == 1 else { continue }
        let stream = head[5...8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        send(script(stream, count.next()), context)
      }
    }

    private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
      guard !bytes.isEmpty else { return }
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    }
  }
}
