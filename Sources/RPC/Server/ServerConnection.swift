// Hot: every byte of every call passes here. No allocation, existential, String or closure for each call in the steady state.
internal import CNGHTTP2
internal import NIOCore
internal import NIOTLS
internal import Telemetry

/// One connection: a NIO channel whose bytes go through one nghttp2 session. The last handler of its pipeline.
///
/// What arrives in a read is handed to nghttp2, whose callbacks find calls in the loop's table and hand messages to method handlers;
/// when the turn ends, everything to be sent is gathered into one write. On the loop's thread only.
///
/// The parts: calls coming in (`ServerConnection+Input`), answers going out (`+Output`), age, silence and the end (`+Life`).
final class ServerConnection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Bytes of one write. nghttp2 gives out a frame at a time, so the last one must fit.
  static let outputBytes = 64 << 10
  static let frameBytesMax = 16_384 + 9

  let loop: ServerLoop
  let isTLS: Bool

  @exclusivity(unchecked) var context: ChannelHandlerContext?
  @exclusivity(unchecked) var session: OpaquePointer?
  /// Where the loop's list has this connection; -1 when it does not.
  @exclusivity(unchecked) var place = -1
  @exclusivity(unchecked) var isDirty = false

  // What comes in.
  /// The call whose headers are being read; nil when they are none's.
  @exclusivity(unchecked) var current: UnsafeMutablePointer<CallSlot>?
  /// The call that data came for last.
  @exclusivity(unchecked) var dataSlot: UnsafeMutablePointer<CallSlot>?
  /// A unary call whose whole message stands in the read buffer and whose end of stream has not been seen yet.
  @exclusivity(unchecked) var borrowing: UnsafeMutablePointer<CallSlot>?
  @exclusivity(unchecked) var borrowed = UnsafeRawBufferPointer(start: nil, count: 0)
  /// The method that was asked for last, by its path.
  @exclusivity(unchecked) var lastPath = UnsafeRawBufferPointer(start: nil, count: 0)
  @exclusivity(unchecked) var lastMethod: Int32 = -1
  /// NIO's own first buffer; see `SharedReadBuffer`.
  @exclusivity(unchecked) var firstBuffer: ByteBuffer?
  /// The connection's first bytes, to tell what else is spoken.
  @exclusivity(unchecked) var firstBytes: UInt64 = 0
  @exclusivity(unchecked) var firstByteCount = 0
  /// A read that NIO asked for and that waits until what is written has gone.
  @exclusivity(unchecked) var isReadHeldBack = false

  // Its calls.
  @exclusivity(unchecked) var calls: UnsafeMutablePointer<CallSlot>?
  @exclusivity(unchecked) var callCount = 0
  /// Bytes of messages that its calls hold, in and out.
  @exclusivity(unchecked) var heldBytes = 0 {
    didSet { loop.heldBytes &+= heldBytes &- oldValue }
  }
  /// Calls whose answer is complete and whose client has not ended its side: they are reset once the answer is out.
  @exclusivity(unchecked) var earlyEnds = 0

  // What goes out.
  @exclusivity(unchecked) var isWritable = true
  @exclusivity(unchecked) var hasSentSettings = false

  // Its life.
  enum Phase { case handshake, open, draining, closing, closed }
  @exclusivity(unchecked) var phase = Phase.handshake
  @exclusivity(unchecked) var floods = FloodCounts()
  @exclusivity(unchecked) var cut: CutReason?
  @exclusivity(unchecked) var bornNanoseconds: Int64 = 0
  @exclusivity(unchecked) var heardNanoseconds: Int64 = 0
  /// When the last call ended, or the connection began.
  @exclusivity(unchecked) var idleSinceNanoseconds: Int64 = 0
  @exclusivity(unchecked) var stalledSinceNanoseconds: Int64 = 0
  /// When bytes of a message last came or went.
  @exclusivity(unchecked) var movedNanoseconds: Int64 = 0
  /// When the header block that is being read began; 0 when none is.
  @exclusivity(unchecked) var headersSinceNanoseconds: Int64 = 0
  @exclusivity(unchecked) var pingSentNanoseconds: Int64 = 0
  @exclusivity(unchecked) var drainBeganNanoseconds: Int64 = 0
  @exclusivity(unchecked) var closeBeganNanoseconds: Int64 = 0
  @exclusivity(unchecked) var ageMaxNanoseconds: Int64 = .max
  @exclusivity(unchecked) var hasSentLastGoaway = false

  init(loop: ServerLoop, isTLS: Bool) {
    self.loop = loop
    self.isTLS = isTLS
  }

  deinit { assert(session == nil, "a connection's session ends with its channel") }

  // MARK: Channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    bornNanoseconds = loop.nowNanoseconds
    heardNanoseconds = bornNanoseconds
    movedNanoseconds = bornNanoseconds
    idleSinceNanoseconds = bornNanoseconds
    loop.add(self)
    if context.channel.isActive, !isTLS { open() }
  }

  func channelActive(context: ChannelHandlerContext) {
    if !isTLS { open() }
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    if phase == .closing || phase == .closed { return }
    loop.beginTurn()
    if !isTLS {
      if firstBuffer == nil { firstBuffer = buffer }
    }
    loop.metrics.received.add(buffer.readableBytes)
    buffer.withUnsafeReadableBytes { receive($0) }
    if !isTLS { loop.readBuffer.giveBack(buffer) }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    loop.endTurn()
    context.fireChannelReadComplete()
  }

  func read(context: ChannelHandlerContext) {
    // A peer that takes nothing gets nothing taken from it: what it sends next would only make more to send.
    if isWritable {
      context.read()
    } else {
      isReadHeldBack = true
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    isWritable = context.channel.isWritable
    if isWritable {
      stalledSinceNanoseconds = 0
      loop.markDirty(self)
      if isReadHeldBack {
        isReadHeldBack = false
        context.read()
      }
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let handshake = event as? TLSUserEvent, case .handshakeCompleted(let chosen) = handshake {
      if chosen == "h2" { open() } else { closeNow() }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    // Ends a turn that a read began and no end of the read followed.
    loop.beginTurn()
    end()
    loop.endTurn()
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    end()
    self.context = nil
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    closeNow()
  }

  // MARK: Cold

  var peer: String { context?.remoteAddress.map { "\($0)" } ?? "" }
}
