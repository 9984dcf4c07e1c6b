internal import CNGHTTP2

/// How messages of a call may be compressed. Source: gRPC over HTTP2, "Message-Encoding".
public enum MessageEncoding: UInt8, Sendable, CaseIterable {
  case identity = 0, gzip, deflate

  /// What this side understands, as `grpc-accept-encoding` lists it.
  public static let accepted: StaticString = "identity,gzip,deflate"

  /// The encoding of a `grpc-encoding` value; nil when it is none of ours.
  public init?(wire: UnsafeRawBufferPointer) {
    if wire.elementsEqual("identity".utf8) {
      self = .identity
    } else if wire.elementsEqual("gzip".utf8) {
      self = .gzip
    } else if wire.elementsEqual("deflate".utf8) {
      self = .deflate
    } else {
      return nil
    }
  }

  public var name: StaticString {
    switch self {
    case .identity: "identity"
    case .gzip: "gzip"
    case .deflate: "deflate"
    }
  }
}

/// Inflates messages, one after the other, with one state that is reused. One thread at a time.
public final class MessageInflater {
  public enum Outcome: Equatable, Sendable {
    case inflated
    /// The bytes are not what the encoding says.
    case invalid
    /// There is more than allowed. No more than that was inflated.
    case tooLarge
  }

  private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
  private var isReady = false

  public init() { stream.initialize(to: z_stream()) }

  deinit {
    if isReady { inflateEnd(stream) }
    stream.deallocate()
  }

  /// Appends the inflated form of `bytes` (gzip or zlib, told by their first bytes) to `queue`: at most `countMax` bytes, whatever a
  /// message claims. The queue keeps what was appended before an error.
  public func inflate(_ bytes: UnsafeRawBufferPointer, into queue: inout ByteQueue, countMax: Int) -> Outcome {
    guard prepare() else { return .invalid }
    // zlib does not write through this pointer; its type is older than const.
    stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
    guard let inputCount = UInt32(exactly: bytes.count) else { return .tooLarge }
    stream.pointee.avail_in = inputCount
    var produced = 0
    while true {
      // One byte more than allowed tells too much from just enough.
      let room = min(max(1024, min(bytes.count * 4, 1 << 20)), countMax - produced + 1)
      let output = queue.reserve(room)
      stream.pointee.next_out = output.bindMemory(to: UInt8.self, capacity: room)
      stream.pointee.avail_out = UInt32(room)
      let result = CNGHTTP2.inflate(stream, Z_NO_FLUSH)
      let written = room - Int(stream.pointee.avail_out)
      produced += written
      if produced > countMax { return .tooLarge }
      queue.advance(by: written)
      switch result {
      case Z_STREAM_END: return stream.pointee.avail_in == 0 ? .inflated : .invalid
      case Z_OK: if written == 0 && stream.pointee.avail_in == 0 { return .invalid }
      default: return .invalid
      }
    }
  }

  private func prepare() -> Bool {
    // 15 bits of window; 32 more: gzip or zlib, as the first bytes say.
    if isReady { return inflateReset(stream) == Z_OK }
    isReady = inflateInit2_(stream, 15 + 32, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    return isReady
  }
}

/// Compresses messages, one after the other, with one state that is reused. One thread at a time.
public final class MessageDeflater {
  private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
  private let encoding: MessageEncoding
  private var isReady = false

  /// `encoding` is gzip or deflate.
  public init(_ encoding: MessageEncoding) {
    precondition(encoding != .identity, "identity compresses nothing")
    self.encoding = encoding
    stream.initialize(to: z_stream())
  }

  deinit {
    if isReady { deflateEnd(stream) }
    stream.deallocate()
  }

  /// Appends the compressed form of `bytes` to `queue`. False, with nothing appended, when there is no memory or they are 4 GiB and more.
  public func deflate(_ bytes: UnsafeRawBufferPointer, into queue: inout ByteQueue) -> Bool {
    guard prepare(), let inputCount = UInt32(exactly: bytes.count) else { return false }
    let bound = Int(deflateBound(stream, UInt(bytes.count)))
    guard let room = UInt32(exactly: bound) else { return false }
    stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
    stream.pointee.avail_in = inputCount
    stream.pointee.next_out = queue.reserve(bound).bindMemory(to: UInt8.self, capacity: bound)
    stream.pointee.avail_out = room
    guard CNGHTTP2.deflate(stream, Z_FINISH) == Z_STREAM_END else { return false }
    queue.advance(by: bound - Int(stream.pointee.avail_out))
    return true
  }

  private func prepare() -> Bool {
    if isReady { return deflateReset(stream) == Z_OK }
    let windowBits: Int32 = encoding == .gzip ? 15 + 16 : 15
    isReady =
      deflateInit2_(
        stream, 1, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    return isReady
  }
}
