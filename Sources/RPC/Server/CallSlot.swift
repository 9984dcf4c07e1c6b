// Hot: one slot for each call in flight, reused.

/// What a loop knows about one call. Lives in memory of `CallTable` that never moves; handles find it by place and generation.
struct CallSlot {
  struct State: OptionSet {
    let rawValue: UInt32
    /// The stream is open in nghttp2.
    static let occupied = State(rawValue: 1)
    /// A handler knows of the call and must hear if it ends early.
    static let live = State(rawValue: 2)
    /// One message each way.
    static let unary = State(rawValue: 4)
    /// The client has ended its side.
    static let inputEnded = State(rawValue: 8)
    /// The handler was told so.
    static let halfClosedTold = State(rawValue: 16)
    /// Response headers were handed to nghttp2.
    static let headersSent = State(rawValue: 32)
    /// The answer is complete: what is left is to send it.
    static let finished = State(rawValue: 64)
    /// nghttp2 asks for no data until it is told that there is some.
    static let deferred = State(rawValue: 128)
    static let readingPaused = State(rawValue: 256)
    /// In the loop's list of calls to be read from again.
    static let resumeQueued = State(rawValue: 512)
    /// More than the low mark was pending since `writable` was last called.
    static let wantsWritable = State(rawValue: 1024)
    static let writableQueued = State(rawValue: 2048)
    /// Messages are being handed over now.
    static let delivering = State(rawValue: 4096)
    /// The headers were more than allowed.
    static let headersTooLarge = State(rawValue: 8192)
    static let isPost = State(rawValue: 16384)
    static let isGRPC = State(rawValue: 1 << 15)
    static let timeoutInvalid = State(rawValue: 1 << 16)
    static let encodingUnknown = State(rawValue: 1 << 17)
    /// Trailers were handed to nghttp2.
    static let trailersSent = State(rawValue: 1 << 18)
    /// The answer is only headers: nghttp2 closes its side with them.
    static let trailersOnly = State(rawValue: 1 << 19)
    /// Counted in the connection's `earlyEnds`.
    static let earlyEnd = State(rawValue: 1 << 20)
    /// What headers set, and how it is when they are fine.
    static let headerChecks: State = [.isPost, .isGRPC, .headersTooLarge, .timeoutInvalid, .encodingUnknown]
    static let headersFine: State = [.isPost, .isGRPC]
  }

  let place: UInt32
  var generation: UInt32 = 1
  var streamID: Int32 = 0
  var state: State = []
  var connection: Unmanaged<ServerConnection>?
  var handler: Unmanaged<MethodHandler>?
  /// Which of the loop's methods; -1 before it is known, or when there is none.
  var methodIndex: Int32 = -1
  var encoding = MessageEncoding.identity
  var code = RPCCode.ok
  /// Where the call stands in the loop's heap of deadlines; -1 when it has none.
  var deadlineIndex: Int32 = -1
  var headerBytes: Int32 = 0
  /// What `:status` says when the answer is only headers.
  var httpStatus: UInt16 = 200
  var deadlineNanoseconds: Int64 = .max
  /// Bytes taken from the call's flow control window and not given back, because reading is paused.
  var withheldBytes = 0
  /// Framed messages that are not whole, or not delivered yet.
  var input = ByteQueue()
  /// Framed answers that nghttp2 has not taken.
  var output = ByteQueue()
  /// Headers that only `metadata` looks at: lengths of name and value in four bytes each, then both.
  var metadata = ByteQueue()
  /// Trailers beside `grpc-status`, in the same form.
  var trailers = ByteQueue()
  /// The calls of one connection, in no order.
  var previous: UnsafeMutablePointer<CallSlot>?
  var next: UnsafeMutablePointer<CallSlot>?

  init(place: UInt32) { self.place = place }

  var call: Call { Call(slot: place, generation: generation) }
}

/// The slots of one loop. They come in blocks, so that a slot never moves; free ones are given out again, last freed first.
final class CallTable {
  private static let blockSlots = 256
  /// Memory that a free slot keeps for its next call, for each of its queues.
  private static let keptBytesMax = 64 << 10

  private var slots: UnsafeMutablePointer<UnsafeMutablePointer<CallSlot>>
  private(set) var count = 0
  private var capacity = 64
  private var free: UnsafeMutablePointer<CallSlot>?
  private var blocks: [UnsafeMutablePointer<CallSlot>] = []
  private(set) var occupied = 0

  init() { slots = .allocate(capacity: capacity) }

  deinit {
    for place in 0..<count {
      slots[place].pointee.input.deallocate()
      slots[place].pointee.output.deallocate()
      slots[place].pointee.metadata.deallocate()
      slots[place].pointee.trailers.deallocate()
    }
    for block in blocks {
      block.deinitialize(count: Self.blockSlots)
      block.deallocate()
    }
    slots.deallocate()
  }

  /// The slot of a live call; nil when the call is dead.
  @inline(__always)
  func live(_ call: Call) -> UnsafeMutablePointer<CallSlot>? {
    let place = Int(call.slot)
    guard place < count else { return nil }
    let slot = slots[place]
    return slot.pointee.generation == call.generation && slot.pointee.state.contains(.live) ? slot : nil
  }

  /// The slot at a place, whatever it holds; nil when there is none.
  @inline(__always)
  func slot(_ place: UInt32) -> UnsafeMutablePointer<CallSlot>? { Int(place) < count ? slots[Int(place)] : nil }

  func take() -> UnsafeMutablePointer<CallSlot> {
    if free == nil { grow() }
    guard let slot = free else { preconditionFailure("a table of calls that grew has a free slot") }
    free = slot.pointee.next
    slot.pointee.next = nil
    occupied &+= 1
    return slot
  }

  /// Takes a slot back. Its handles are dead from here on.
  func giveBack(_ slot: UnsafeMutablePointer<CallSlot>) {
    slot.pointee.generation &+= 1
    slot.pointee.state = []
    slot.pointee.connection = nil
    slot.pointee.handler = nil
    slot.pointee.methodIndex = -1
    slot.pointee.encoding = .identity
    slot.pointee.code = .ok
    slot.pointee.headerBytes = 0
    slot.pointee.httpStatus = 200
    slot.pointee.deadlineNanoseconds = .max
    slot.pointee.withheldBytes = 0
    slot.pointee.input.removeAll(keeping: Self.keptBytesMax)
    slot.pointee.output.removeAll(keeping: Self.keptBytesMax)
    slot.pointee.metadata.removeAll(keeping: Self.keptBytesMax)
    slot.pointee.trailers.removeAll(keeping: Self.keptBytesMax)
    slot.pointee.previous = nil
    slot.pointee.next = free
    free = slot
    occupied &-= 1
  }

  private func grow() {
    let block = UnsafeMutablePointer<CallSlot>.allocate(capacity: Self.blockSlots)
    blocks.append(block)
    if count + Self.blockSlots > capacity {
      let grown = UnsafeMutablePointer<UnsafeMutablePointer<CallSlot>>.allocate(capacity: max(capacity * 2, count + Self.blockSlots))
      grown.update(from: slots, count: count)
      slots.deallocate()
      slots = grown
      capacity = max(capacity * 2, count + Self.blockSlots)
    }
    for index in (0..<Self.blockSlots).reversed() {
      let slot = block + index
      slot.initialize(to: CallSlot(place: UInt32(count + index)))
      slot.pointee.next = free
      free = slot
    }
    for index in 0..<Self.blockSlots { slots[count + index] = block + index }
    count += Self.blockSlots
  }
}
