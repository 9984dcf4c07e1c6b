// Hot: runs per read and per request. Frames are handled where they lie; replies of one burst leave in one write.
import Logging
import NIOCore

/// One client: cuts the stream into requests, has the broker answer them in order, and holds the client back while it
/// does not read its answers.
///
/// At most one request of a connection is in hand; a waiting one (long poll, join, sync) holds up those behind it, as the protocol's order of replies
/// demands. A fetch that only waits for more data is answered at once when something comes behind it.
final class ConnectionHandler: ChannelInboundHandler, ChannelOutboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Input that may pile up behind a waiting request or an unread reply before reading stops.
  private static let inputPauseBytes = 256 * 1024
  /// Replies gathered before they are handed to the channel.
  private static let outputGatherBytes = 1 << 20
  /// An input buffer larger than this is given back when it is empty.
  private static let inputKeepBytes = 2 << 20

  private let broker: Broker
  private(set) var context: ChannelHandlerContext?
  private(set) var remoteHost = ""
  private(set) var localHost = ""
  private var remotePort = 0
  private var input = ByteBuffer()
  private var output = ByteBuffer()
  private var isProcessing = false
  private var readHeld = false
  /// The request in hand waits for something else than this connection.
  private var isWaiting = false
  private(set) var isClosed = false
  lazy var fetch = FetchWait(connection: self)
  /// Identifies this connection in the coordinator's pending requests.
  let identity: UInt64

  init(broker: Broker, identity: UInt64) {
    self.broker = broker
    self.identity = identity
  }

  // MARK: Channel events

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    remoteHost = context.remoteAddress?.ipAddress ?? "unknown"
    remotePort = context.remoteAddress?.port ?? 0
    localHost = context.localAddress?.ipAddress ?? broker.settings.host
  }

  func channelActive(context: ChannelHandlerContext) {
    if !broker.opened(self) {
      broker.logger.warning(
        "refused a connection: too many", metadata: ["client": "\(remote)", "limit": "\(broker.settings.connectionsMax)"])
      context.close(promise: nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isClosed = true
    input = ByteBuffer()
    output = ByteBuffer()
    broker.closed(self)
    self.context = nil
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    broker.logger.debug("connection failed", metadata: ["client": "\(remote)", "error": "\(error)"])
    context.close(promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    guard !isClosed else { return }
    if input.readableBytes == 0 {
      input = bytes
    } else {
      // What was handled must not make the buffer grow.
      if input.readerIndex > 0 { input.discardReadBytes() }
      input.writeBuffer(&bytes)
    }
    process()
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    flush()
    broker.endOfBurst()
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    guard context.channel.isWritable, !isProcessing else { return }
    process()
    flush()
    broker.endOfBurst()
  }

  func read(context: ChannelHandlerContext) {
    if (isWaiting || !context.channel.isWritable) && input.readableBytes >= Self.inputPauseBytes {
      readHeld = true
    } else {
      context.read()
    }
  }

  var remote: String { "\(remoteHost):\(remotePort)" }

  // MARK: Requests

  /// Handles the requests that are complete, as far as the client takes answers.
  private func process() {
    guard !isProcessing else { return }
    isProcessing = true
    defer {
      isProcessing = false
      if readHeld, let context, !isWaiting, context.channel.isWritable {
        readHeld = false
        context.read()
      }
    }
    while !isClosed, let context, let size = input.getInteger(at: input.readerIndex, as: Int32.self) {
      guard size >= 8, Int(size) <= broker.settings.requestBytesMax else {
        return close("request of \(size) bytes: from 8 to \(broker.settings.requestBytesMax) are taken")
      }
      guard input.readableBytes - 4 >= Int(size) else { break }
      if isWaiting {
        guard fetch.isWaiting else { break }
        broker.finish(fetch)
        continue
      }
      if output.readableBytes >= Self.outputGatherBytes { flush() }
      guard context.channel.isWritable else { break }
      // Taken out while it is read, so that nothing done for the request can touch it.
      var taken = ByteBuffer()
      swap(&taken, &input)
      taken.withUnsafeReadableBytes { bytes in
        broker.handle(UnsafeRawBufferPointer(rebasing: bytes[4..<(4 + Int(size))]), from: self)
      }
      guard !isClosed else { return }
      taken.moveReaderIndex(forwardBy: 4 + Int(size))
      swap(&taken, &input)
    }
    if input.readableBytes == 0 {
      if input.capacity > Self.inputKeepBytes { input = ByteBuffer() } else { input.clear() }
    }
  }

  /// Marks the request in hand as waiting; `endWait` or `resume` end that.
  func wait() { isWaiting = true }

  /// The waiting request has been answered.
  func endWait() { isWaiting = false }

  /// After the reply to a waiting request: sends it and goes on with what came in meanwhile.
  func resume() {
    isWaiting = false
    guard !isClosed else { return }
    if !isProcessing {
      process()
      flush()
    }
  }

  // MARK: Replies

  /// Appends a reply. The body is what comes after the header.
  func reply(_ reply: ReplyContext, _ body: (inout WireWriter) -> Void) {
    guard !isClosed else { return }
    var taken = ByteBuffer()
    swap(&taken, &output)
    if taken.capacity == 0, let context { taken = context.channel.allocator.buffer(capacity: 512) }
    let start = taken.writerIndex
    var writer = WireWriter(taken)
    taken = ByteBuffer()
    writer.int32(0)
    writer.int32(reply.correlationID)
    // ApiVersions keeps the old header, so that clients can read it before they know anything (KIP-511).
    if reply.flexible, reply.key != .apiVersions { writer.buffer.writeInteger(UInt8(0)) }
    writer.flexible = reply.flexible
    body(&writer)
    taken = writer.buffer
    writer.buffer = ByteBuffer()
    taken.setInteger(Int32(clamping: taken.writerIndex - start - 4), at: start)
    swap(&taken, &output)
  }

  func flush() {
    guard output.readableBytes > 0, let context, !isClosed else { return }
    var full = ByteBuffer()
    swap(&full, &output)
    context.writeAndFlush(wrapOutboundOut(full), promise: nil)
  }

  /// Ends the connection for something the client did.
  func close(_ reason: String) {
    guard !isClosed else { return }
    broker.logger.warning("closing a connection", metadata: ["client": "\(remote)", "reason": "\(reason)"])
    flush()
    // From here on nothing of it is read any more; `channelInactive` does the rest.
    isClosed = true
    input = ByteBuffer()
    context?.close(promise: nil)
  }
}
