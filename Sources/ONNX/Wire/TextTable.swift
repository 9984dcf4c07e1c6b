internal import Model
internal import Synchronization

/// Texts by the 64-bit hash that stands for them in tensors: graphs only ask whether texts are equal. Any thread.
public final class TextTable: Sendable {
  private let texts = Mutex<[UInt64: [UInt8]]>([:])

  public init() {}

  /// The hash that stands for `text`; the same as requests' texts get.
  public static func hash(_ text: [UInt8]) -> UInt64 { text.withUnsafeBytes { RowID.text($0) } }

  @discardableResult
  public func add(_ text: [UInt8]) -> UInt64 {
    let hash = Self.hash(text)
    texts.withLock { $0[hash] = text }
    return hash
  }

  public func text(_ hash: UInt64) -> [UInt8]? { texts.withLock { $0[hash] } }

  /// All of them, in the order of their bytes.
  var all: [(hash: UInt64, text: [UInt8])] {
    texts.withLock { $0.map { (hash: $0.key, text: $0.value) } }.sorted { $0.text.lexicographicallyPrecedes($1.text) }
  }
}
