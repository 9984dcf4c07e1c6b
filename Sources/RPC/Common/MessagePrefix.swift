/// What stands before every message on a stream: one byte that tells whether the message is compressed, and its length in four
/// bytes, big end first. Source: gRPC over HTTP2, "Length-Prefixed-Message".
public struct MessagePrefix: Equatable, Sendable {
  /// Bytes of a prefix.
  public static let byteCount = 5

  /// The first byte: 0 for a plain message, 1 for a compressed one; anything else is an error of the peer's.
  public var flag: UInt8
  /// Bytes of the message as it stands on the wire.
  public var length: Int

  public init(flag: UInt8 = 0, length: Int) {
    self.flag = flag
    self.length = length
  }

  /// Reads a prefix; nil when there are fewer than five bytes.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= Self.byteCount else { return nil }
    flag = bytes[0]
    length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
  }

  /// Writes the five bytes at `pointer`. The length must fit in four bytes.
  public func write(to pointer: UnsafeMutableRawPointer) {
    pointer.storeBytes(of: flag, as: UInt8.self)
    pointer.storeBytes(of: UInt32(length).bigEndian, toByteOffset: 1, as: UInt32.self)
  }
}
