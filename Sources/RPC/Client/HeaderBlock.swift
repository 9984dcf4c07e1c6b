internal import CNGHTTP2

/// A request's header fields in nghttp2's form. Those of prepared methods live as long as their loop, so nghttp2 need not copy them.
final class HeaderBlock {
  private(set) var fields: UnsafeMutablePointer<nghttp2_nv>
  let count: Int
  /// Nghttp2 may point into it.
  let isKept: Bool
  private let bytes: UnsafeMutablePointer<UInt8>

  /// `timeoutNanoseconds`: nil for none.
  init(
    path: String, authority: String, isSecure: Bool, userAgent: String, timeoutNanoseconds: Int64?, metadata: RPCMetadata, isKept: Bool
  ) {
    var list: [(name: [UInt8], value: [UInt8], isIndexed: Bool)] = []
    func add(_ name: String, _ value: String, isIndexed: Bool = true) {
      list.append((Array(name.utf8), Array(value.utf8), isIndexed))
    }
    add(":method", "POST")
    add(":scheme", isSecure ? "https" : "http")
    add(":path", path)
    add(":authority", authority)
    add("te", "trailers")
    add("content-type", "application/grpc")
    add("user-agent", userAgent)
    add("grpc-accept-encoding", "\(MessageEncoding.accepted)")
    if let timeoutNanoseconds {
      let text = withUnsafeTemporaryAllocation(byteCount: GRPCTimeout.byteCountMax, alignment: 1) { room -> [UInt8] in
        guard let base = room.baseAddress else { return [] }
        let count = GRPCTimeout.write(nanoseconds: timeoutNanoseconds, to: base)
        return Array(room[0..<count])
      }
      // One of its own for each call would push everything else out of the compressor's table.
      list.append((Array("grpc-timeout".utf8), text, isKept))
    }
    for entry in metadata.entries { list.append((Array(entry.name.utf8), RPCMetadata.wireValue(entry), isKept)) }

    count = list.count
    self.isKept = isKept
    fields = .allocate(capacity: max(1, count))
    bytes = .allocate(capacity: max(1, list.reduce(0) { $0 + $1.name.count + $1.value.count }))
    var next = bytes
    func keep(_ text: [UInt8]) -> UnsafeMutablePointer<UInt8> {
      let start = next
      for (i, byte) in text.enumerated() { start[i] = byte }
      next += text.count
      return start
    }
    for (i, field) in list.enumerated() {
      var flags: UInt32 = 0
      if isKept { flags |= NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue }
      if !field.isIndexed { flags |= NGHTTP2_NV_FLAG_NO_INDEX.rawValue }
      (fields + i).initialize(
        to: nghttp2_nv(
          name: keep(field.name), value: keep(field.value), namelen: field.name.count, valuelen: field.value.count,
          flags: UInt8(truncatingIfNeeded: flags)))
    }
  }

  deinit {
    fields.deallocate()
    bytes.deallocate()
  }
}
