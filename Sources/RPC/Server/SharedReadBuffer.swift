// Hot: every read takes its buffer from here.
internal import NIOCore

/// One buffer that all connections of a loop read into, one after the other: an idle connection then holds none.
///
/// NIO keeps the first buffer that a channel gets for itself and fills it again as long as nobody else holds it. So a channel's first one
/// is small, the connection holds on to it, and every later read comes here. On the loop's thread only.
final class SharedReadBuffer: @unchecked Sendable {
  private let byteCount: Int
  private var spare: ByteBuffer?

  init(byteCount: Int) { self.byteCount = byteCount }

  func take(_ allocator: ByteBufferAllocator) -> ByteBuffer {
    guard var taken = spare else { return allocator.buffer(capacity: byteCount) }
    spare = nil
    taken.clear()
    return taken
  }

  func giveBack(_ buffer: ByteBuffer) {
    if buffer.capacity >= byteCount { spare = buffer }
  }
}

/// Gives a channel its buffers: a small one first, then the shared one.
struct SharedReadBufferAllocator: RecvByteBufferAllocator {
  private static let firstByteCount = 512
  private let shared: SharedReadBuffer
  private var isFirst = true

  init(_ shared: SharedReadBuffer) { self.shared = shared }

  func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
    isFirst ? allocator.buffer(capacity: Self.firstByteCount) : shared.take(allocator)
  }

  /// Asked for before each read; a size makes the channel look whether it alone holds its own buffer.
  func nextBufferSize() -> Int? { Self.firstByteCount }

  mutating func record(actualReadBytes: Int) -> Bool {
    isFirst = false
    return false
  }
}
