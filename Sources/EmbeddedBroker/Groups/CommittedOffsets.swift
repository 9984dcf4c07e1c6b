import CKernels
import Logging
import NIOCore

/// The offsets that consumer groups have committed, in memory and in a file that only grows until it is rewritten.
///
/// Each entry of the file is a length, a CRC-32C and a payload; a torn entry at the end is cut off at the next start. An entry is
/// in the file before the commit is acknowledged.
final class CommittedOffsets {
  struct Place: Hashable {
    let topic: String
    let partition: Int32
  }

  struct Commit: Equatable {
    let offset: Int64
    let leaderEpoch: Int32
    let metadata: String?
  }

  private enum Kind: Int8 {
    case commit = 1
    case removeGroup = 2
    case removeTopic = 3
  }

  /// The file is rewritten when it is this big and mostly outdated.
  private static let rewriteBytes = 4 << 20
  private static let entryHeadBytes = 8

  private let path: String
  private let logger: Logger
  private var descriptor: Int32 = -1
  private var fileBytes = 0
  private var rewriteAt = rewriteBytes
  private(set) var groups: [String: [Place: Commit]] = [:]

  init(directory: String, logger: Logger) throws {
    path = directory + "/offsets"
    self.logger = logger
    descriptor = try LogFile.open(path, create: true)
    let size = try LogFile.size(descriptor, path)
    try MappedFile(descriptor: descriptor, path: path, count: size).withBytes { replay($0) }
    if fileBytes < size {
      logger.warning("cut off a torn tail", metadata: ["file": "\(path)", "bytes": "\(size - fileBytes)"])
      try LogFile.truncate(descriptor, path, to: fileBytes)
    }
  }

  deinit { closeDescriptor(descriptor) }

  private func replay(_ bytes: UnsafeRawBufferPointer) {
    while bytes.count - fileBytes > Self.entryHeadBytes {
      let length = Int(bytes.loadUnaligned(fromByteOffset: fileBytes, as: UInt32.self).bigEndian)
      let checksum = bytes.loadUnaligned(fromByteOffset: fileBytes + 4, as: UInt32.self).bigEndian
      let start = fileBytes + Self.entryHeadBytes
      guard length <= bytes.count - start else { return }
      let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + length)])
      guard mr_crc32c(0, payload.baseAddress, payload.count) == checksum, apply(payload) else { return }
      fileBytes = start + length
    }
  }

  private func apply(_ payload: UnsafeRawBufferPointer) -> Bool {
    var reader = WireReader(payload)
    do throws(WireError) {
      guard let kind = Kind(rawValue: try reader.int8("kind")) else { return false }
      let name = try reader.string("name")
      switch kind {
      case .commit:
        for _ in 0..<(try reader.arrayCount("commits", elementBytesMin: 20)) {
          let place = Place(topic: try reader.string("topic"), partition: try reader.int32("partition"))
          groups[name, default: [:]][place] = Commit(
            offset: try reader.int64("offset"), leaderEpoch: try reader.int32("leaderEpoch"),
            metadata: try reader.nullableString("metadata"))
        }
      case .removeGroup: groups[name] = nil
      case .removeTopic: forget(topic: name)
      }
      return true
    } catch {
      return false
    }
  }

  private func forget(topic: String) {
    for group in groups.keys {
      groups[group] = groups[group]?.filter { $0.key.topic != topic }
      if groups[group]?.isEmpty == true { groups[group] = nil }
    }
  }

  private func append(_ kind: Kind, _ name: String, _ body: (inout WireWriter) -> Void) throws(StorageError) {
    let entry = Self.entry(kind, name, body)
    let written = entry.withUnsafeReadableBytes { bytes in
      Result { () throws(StorageError) in
        try LogFile.write(descriptor, path, bytes, UnsafeRawBufferPointer(start: nil, count: 0), at: fileBytes)
      }
    }
    if case .failure(let error) = written {
      try LogFile.truncate(descriptor, path, to: fileBytes)
      throw error
    }
    fileBytes += entry.readableBytes
  }

  private static func entry(_ kind: Kind, _ name: String, _ body: (inout WireWriter) -> Void) -> ByteBuffer {
    var writer = WireWriter(ByteBuffer())
    writer.int64(0)
    writer.int8(kind.rawValue)
    writer.string(name)
    body(&writer)
    let checksum = writer.buffer.withUnsafeReadableBytes {
      mr_crc32c(0, $0.baseAddress.map { $0 + entryHeadBytes }, $0.count - entryHeadBytes)
    }
    writer.buffer.setInteger(UInt32(writer.buffer.readableBytes - entryHeadBytes), at: 0)
    writer.buffer.setInteger(checksum, at: 4)
    return writer.buffer
  }

  private static func write(_ commits: [(Place, Commit)], _ writer: inout WireWriter) {
    writer.array(commits) { writer, element in
      writer.string(element.0.topic)
      writer.int32(element.0.partition)
      writer.int64(element.1.offset)
      writer.int32(element.1.leaderEpoch)
      writer.nullableString(element.1.metadata)
    }
  }

  func commit(_ group: String, _ commits: [(Place, Commit)]) throws(StorageError) {
    guard !commits.isEmpty else { return }
    try append(.commit, group) { Self.write(commits, &$0) }
    for (place, commit) in commits { groups[group, default: [:]][place] = commit }
    rewriteIfOutdated()
  }

  func remove(group: String) throws(StorageError) {
    guard groups[group] != nil else { return }
    try append(.removeGroup, group) { _ in }
    groups[group] = nil
  }

  func remove(topic: String) throws(StorageError) {
    guard groups.values.contains(where: { $0.keys.contains { $0.topic == topic } }) else { return }
    try append(.removeTopic, topic) { _ in }
    forget(topic: topic)
  }

  /// Replaces the file by one that holds only what counts. When that fails the old one goes on growing.
  private func rewriteIfOutdated() {
    guard fileBytes >= rewriteAt else { return }
    var entries = ByteBuffer()
    for (group, commits) in groups {
      let entry = Self.entry(.commit, group) { Self.write(commits.map { ($0.key, $0.value) }, &$0) }
      entries.writeImmutableBuffer(entry)
    }
    let temporary = path + ".new"
    do throws(StorageError) {
      let replacement = try LogFile.open(temporary, create: true)
      do throws(StorageError) {
        try LogFile.truncate(replacement, temporary, to: 0)
        let written = entries.withUnsafeReadableBytes { bytes in
          Result { () throws(StorageError) in
            try LogFile.write(replacement, temporary, bytes, UnsafeRawBufferPointer(start: nil, count: 0), at: 0)
          }
        }
        try written.get()
        try LogFile.rename(temporary, path)
      } catch {
        closeDescriptor(replacement)
        throw error
      }
      closeDescriptor(descriptor)
      descriptor = replacement
      fileBytes = entries.readableBytes
    } catch {
      logger.warning("could not rewrite committed offsets", metadata: ["error": "\(error)"])
    }
    // Not again before it has doubled.
    rewriteAt = max(Self.rewriteBytes, 2 * fileBytes)
  }
}
