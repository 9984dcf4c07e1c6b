internal import CKernels

/// One whole checkpoint of a model: every shard at its own offset.
public struct CheckpointGeneration: Sendable, Equatable {
  /// Rises by one with each checkpoint.
  public internal(set) var number: UInt64 = 0
  /// Wall clock, for people.
  public internal(set) var createdMilliseconds: Int64 = 0
  /// `<name>.<version>` of the model.
  public internal(set) var model = ""
  public internal(set) var specHash: UInt64 = 0
  public internal(set) var shards: [Shard] = []

  public struct Shard: Sendable, Equatable {
    /// The next offset to apply after restoring.
    public internal(set) var nextOffset: Int64 = 0
    public internal(set) var epoch: UInt32 = 0
    public internal(set) var rows: UInt64 = 0
    public internal(set) var stateHash: UInt64 = 0
    public internal(set) var examples: Int64 = 0
    public internal(set) var bytes: UInt64 = 0
  }

  public var offsets: [Int64] { shards.map(\.nextOffset) }

  static let magic: UInt32 = 0x4D43_524D  // "MRCM"

  /// Magic, size and CRC-32C of the rest, then the rest.
  var encoded: [UInt8] {
    var body = ByteWriter()
    body.put(ShardCheckpoint.formatVersion)
    body.put(number)
    body.put(createdMilliseconds)
    body.put(Array(model.utf8))
    body.put(specHash)
    body.put(UInt32(shards.count))
    for shard in shards {
      body.put(shard.nextOffset)
      body.put(shard.epoch)
      body.put(shard.rows)
      body.put(shard.stateHash)
      body.put(shard.examples)
      body.put(shard.bytes)
    }
    var out = ByteWriter()
    out.put(Self.magic)
    out.put(UInt32(body.bytes.count))
    out.put(body.bytes.withUnsafeBytes { mr_crc32c(0, $0.baseAddress, $0.count) })
    out.bytes.append(contentsOf: body.bytes)
    return out.bytes
  }

  static func read(path: String) throws(CheckpointError) -> CheckpointGeneration {
    let file = try CheckpointFileReader(path)
    let head = try file.read(12)
    func word(_ at: Int) -> UInt32 { UInt32(littleEndian: head.loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    guard word(0) == magic else { throw .corrupt(path: path, atByte: 0, "not a manifest") }
    let size = Int(word(4))
    let stored = word(8)
    guard size <= 1 << 20 else { throw .corrupt(path: path, atByte: 4, "a manifest of \(size) bytes") }
    let body = try file.read(size)
    guard mr_crc32c(0, body.baseAddress, size) == stored else { throw .corrupt(path: path, atByte: 12, "the checksum does not hold") }
    guard file.isAtEnd else { throw .corrupt(path: path, atByte: 12 + size, "bytes after the end") }
    do {
      var reader = ByteReader(bytes: body)
      let version = try reader.get(UInt32.self)
      guard version == ShardCheckpoint.formatVersion else { throw CheckpointError.unknownFormat(path: path, version: version) }
      var generation = CheckpointGeneration()
      generation.number = try reader.get()
      generation.createdMilliseconds = try reader.get()
      generation.model = String(decoding: try reader.array(), as: UTF8.self)
      generation.specHash = try reader.get()
      for _ in 0..<(try reader.count(minimumBytes: 44)) {
        var shard = Shard()
        shard.nextOffset = try reader.get()
        shard.epoch = try reader.get()
        shard.rows = try reader.get()
        shard.stateHash = try reader.get()
        shard.examples = try reader.get()
        shard.bytes = try reader.get()
        generation.shards.append(shard)
      }
      return generation
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .corrupt(path: path, atByte: 12, "the manifest does not hold what it should")
    }
  }
}
