import ArgumentParser
import Logging
import RPC
import Telemetry

/// `millrace bench rpc`: a gRPC server that answers with what it was asked.
struct BenchRPCCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rpc",
    abstract: "Serve an echo over gRPC, to measure the wire alone with any gRPC load generator.",
    discussion: """
      The methods are /millrace.Echo/Unary and /millrace.Echo/Stream; a message may be any bytes. Serves until it is interrupted, or for --seconds.

      EXAMPLE
        millrace bench rpc --port 9100 --loops 1 &
        h2load -D 10 -c 8 -m 32 -t 1 -d message -H 'content-type: application/grpc' -H 'te: trailers' \\
          http://127.0.0.1:9100/millrace.Echo/Unary
      """)

  @Option(help: "The port; 0 takes a free one.") var port = 0
  @Option(help: "Event loops; 0 takes as many as there are cores.") var loops = 1
  @Option(help: "Stop after this long; 0 for never.") var seconds = 0
  @Option(help: "Most connections.") var connections = 20_000

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port takes 0 to 65535") }
    guard (0...1024).contains(loops) else { throw ValidationError("--loops takes 0 to 1024") }
    guard (0...86_400).contains(seconds) else { throw ValidationError("--seconds takes 0 to 86400") }
    guard connections > 0 else { throw ValidationError("--connections takes at least 1") }
  }

  func run() async throws {
    var settings = RPCServerSettings()
    settings.port = port
    settings.loops = loops
    settings.connectionsMax = connections
    let service = RPCService(
      name: "millrace.Echo",
      methods: [RPCMethod("Unary", .unary) { EchoUnary(loop: $0) }, RPCMethod("Stream", .streaming) { EchoStream(loop: $0) }])
    let registry = Registry()
    let server = RPCServer(settings: settings, services: [service], registry: registry, logger: Logger(label: "bench"))
    let port = try await server.start()
    print("listening on 127.0.0.1:\(port)")
    try await Task.sleep(nanoseconds: seconds > 0 ? UInt64(seconds) * 1_000_000_000 : .max / 4)
    await server.stop(graceMilliseconds: 1000)
    print(registry.text().split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n"))
  }
}

/// Answers a message with itself.
private final class EchoUnary: MethodHandler {
  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) { loop.reply(call, bytes) }
}

/// Answers each message with itself, and ends when the client does. A client that does not take its answers is not read from.
private final class EchoStream: MethodHandler {
  private static let pendingBytesMax = 1 << 20

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    loop.send(call, bytes)
    if loop.pendingBytes(call) > Self.pendingBytesMax { loop.pauseReading(call) }
  }

  override func writable(_ call: Call) { loop.resumeReading(call) }

  override func halfClosed(_ call: Call) { loop.finish(call) }
}
