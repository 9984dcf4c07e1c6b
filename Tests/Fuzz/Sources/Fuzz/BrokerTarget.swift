@testable import EmbeddedBroker
import Foundation
import Logging
import NIOCore
import NIOEmbedded

/// One request frame, without its length, to a broker of its own. Brokers are replaced now and then, so that what earlier inputs left
/// behind stays small.
func brokerRequests() -> (UnsafeRawBufferPointer) -> Void {
  let inputsPerBroker = 500
  var sandbox = BrokerSandbox()
  var inputs = 0
  return { input in
    guard input.count < 1 << 16 else { return }
    inputs += 1
    if inputs % inputsPerBroker == 0 {
      sandbox.close()
      sandbox = BrokerSandbox()
    }
    sandbox.use(input)
  }
}

private final class BrokerSandbox {
  private let directory = FileManager.default.temporaryDirectory.appendingPathComponent("millrace-fuzz-\(UUID().uuidString)").path
  private let loop = EmbeddedEventLoop()
  private let broker: Broker
  private var identity: UInt64 = 0

  init() {
    var settings = BrokerSettings(dataDirectory: directory)
    settings.topicsMax = 4
    settings.partitionsPerTopicMax = 4
    try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    guard
      let broker = try? Broker(
        settings: settings, clusterID: "fuzz", loop: loop, logger: Logger(label: "fuzz", factory: { _ in SwiftLogNoOpLogHandler() }))
    else { fatalError("no broker in \(directory)") }
    self.broker = broker
  }

  func use(_ input: UnsafeRawBufferPointer) {
    identity += 1
    let handler = ConnectionHandler(broker: broker, identity: identity)
    let channel = EmbeddedChannel(handler: handler, loop: loop)
    _ = channel.connect(to: try! SocketAddress(ipAddress: "127.0.0.1", port: 1))
    var frame = channel.allocator.buffer(capacity: input.count + 4)
    frame.writeInteger(UInt32(input.count))
    frame.writeBytes(input)
    _ = try? channel.writeInbound(frame)
    loop.advanceTime(by: .milliseconds(5))
    while (try? channel.readOutbound(as: ByteBuffer.self)) != nil {}
    _ = try? channel.finish(acceptAlreadyClosed: true)
  }

  func close() {
    broker.shutDown()
    try? FileManager.default.removeItem(atPath: directory)
  }
}
