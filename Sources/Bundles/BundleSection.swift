public import Model

/// One tensor of a bundle, as its directory tells it.
public struct BundleSection: Sendable, Equatable {
  public var name: String
  public var element: TensorElement
  /// All dimensions; empty: one number.
  public var shape: [Int]
  /// From the start of the file; a multiple of 64, of 4,096 when it is large.
  public var offset: Int
  public var byteCount: Int
  /// CRC-32C of its bytes.
  public var checksum: UInt32
}
