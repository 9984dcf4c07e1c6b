// Hot: the headers of every call that are not known by name are put by here, as bytes.

/// Headers kept as bytes until someone asks: the lengths of name and value in four bytes each, then both.
enum HeaderStore {
  static let overheadBytes = 8

  static func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, to queue: inout ByteQueue) {
    let bytes = queue.reserve(overheadBytes + name.count + value.count)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: name.count), as: UInt32.self)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: value.count), toByteOffset: 4, as: UInt32.self)
    if let base = name.baseAddress { (bytes + overheadBytes).copyMemory(from: base, byteCount: name.count) }
    if let base = value.baseAddress { (bytes + overheadBytes + name.count).copyMemory(from: base, byteCount: value.count) }
    queue.advance(by: overheadBytes + name.count + value.count)
  }

  /// Calls `body` with each name and value.
  static func forEach(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void) {
    var offset = 0
    while bytes.count - offset >= overheadBytes {
      let nameCount = Int(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      let valueCount = Int(bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
      offset += overheadBytes
      guard bytes.count - offset >= nameCount + valueCount else { return }
      body(
        UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + nameCount)]),
        UnsafeRawBufferPointer(rebasing: bytes[(offset + nameCount)..<(offset + nameCount + valueCount)]))
      offset += nameCount + valueCount
    }
  }

  /// All but what stands for parts of the request line.
  static func metadata(_ bytes: UnsafeRawBufferPointer) -> RPCMetadata {
    var metadata = RPCMetadata()
    forEach(bytes) { name, value in
      if name.first != UInt8(ascii: ":") { metadata.addFromWire(name: name, value: value) }
    }
    return metadata
  }
}

/// Writes what stands beside `grpc-status` in trailers.
enum TrailerWriter {
  /// Longer messages are cut off: peers refuse headers beyond some size, and would see no status at all.
  static let messageBytesMax = 2048
  private static let messageName: StaticString = "grpc-message"
  private static let detailsName: StaticString = "grpc-status-details-bin"

  /// Writes `grpc-message`, percent-encoded. Nothing for an empty one.
  static func write(message: UnsafeRawBufferPointer, to queue: inout ByteQueue) {
    guard message.count > 0 else { return }
    let start = queue.count
    let name = UnsafeRawBufferPointer(start: messageName.utf8Start, count: messageName.utf8CodeUnitCount)
    HeaderStore.append(name: name, value: UnsafeRawBufferPointer(start: nil, count: 0), to: &queue)
    let before = queue.count
    PercentEncoding.append(message, to: &queue, countMax: messageBytesMax)
    queue.mutableBytes.storeBytes(of: UInt32(queue.count - before), toByteOffset: start + 4, as: UInt32.self)
  }

  static func write(_ status: RPCStatus, _ trailers: RPCMetadata?, to queue: inout ByteQueue) {
    queue.removeAll()
    var message = status.message
    message.withUTF8 { write(message: UnsafeRawBufferPointer($0), to: &queue) }
    if !status.details.isEmpty {
      let name = UnsafeRawBufferPointer(start: detailsName.utf8Start, count: detailsName.utf8CodeUnitCount)
      status.details.withUnsafeBytes { Base64.encode($0) }.withUnsafeBytes { HeaderStore.append(name: name, value: $0, to: &queue) }
    }
    for entry in trailers?.entries ?? [] {
      let value = RPCMetadata.wireValue(entry)
      Array(entry.name.utf8).withUnsafeBytes { name in
        value.withUnsafeBytes { HeaderStore.append(name: name, value: $0, to: &queue) }
      }
    }
  }
}
