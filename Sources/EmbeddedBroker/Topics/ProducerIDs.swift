/// Hands out producer ids, never the same twice over restarts: blocks of them are claimed on disk first.
final class ProducerIDs {
  private static let blockSize: Int64 = 1_000
  private static let magic: UInt32 = 0x4D52_5049
  private let path: String
  private var next: Int64
  private var claimed: Int64

  init(directory: String) throws {
    path = directory + "/producer-ids"
    if LogFile.exists(path) {
      guard let payload = ChecksummedFile.read(path, magic: Self.magic) else {
        throw EmbeddedBrokerError("\(path) is damaged: remove it only if no idempotent producer is running")
      }
      next = try payload.withUnsafeBytes { bytes in
        var reader = WireReader(bytes)
        return max(0, try reader.int64("next"))
      }
    } else {
      next = 0
    }
    claimed = next
  }

  func allocate() throws(StorageError) -> Int64 {
    if next >= claimed {
      let until = next + Self.blockSize
      try ChecksummedFile.write(path, magic: Self.magic) { $0.int64(until) }
      claimed = until
    }
    defer { next += 1 }
    return next
  }
}
