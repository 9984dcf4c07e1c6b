/// What THAW says about one source.
public struct ThawSource: Sendable, Equatable {
  public var partition: Int32
  /// Nil: resumes where progress stands. Else progress moves forward to here, and what lies between is skipped.
  public var skipTo: SourceProgress?

  public init(partition: Int32, skipTo: SourceProgress? = nil) {
    self.partition = partition
    self.skipTo = skipTo
  }
}

/// What a control record says beyond its header.
public enum ControlPayload: Sendable, Equatable {
  /// Update, freeze, skip, beacon.
  case none
  case spec(semanticsVersion: UInt32, canonicalBytes: [UInt8])
  case reset(checkpoint: String)
  case thaw([ThawSource])
  case expire(slice: UInt32, slices: UInt32, beforeMilliseconds: Int64)

  /// Sources that one THAW can name.
  public static let thawSourcesMax = 65_536
  public static let resetNameBytesMax = 1024

  static let thawSourceBytes = 40

  var bytes: [UInt8] {
    var out: [UInt8] = []
    func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    switch self {
    case .none: break
    case .spec(let semantics, let canonical):
      put(semantics)
      out.append(contentsOf: canonical)
    case .reset(let name): out.append(contentsOf: name.utf8)
    case .thaw(let sources):
      for source in sources {
        put(source.partition)
        put(UInt32(source.skipTo == nil ? 0 : 1))
        let to = source.skipTo ?? SourceProgress()
        put(to.offset)
        put(to.featuresTo)
        put(to.labelsTo)
        put(to.batch)
      }
    case .expire(let slice, let slices, let before):
      put(slice)
      put(slices)
      put(before)
    }
    return out
  }

  static func parse(kind: UpdateKind, _ tail: UnsafeRawBufferPointer) throws(UpdateRecordError) -> ControlPayload {
    func int<T: FixedWidthInteger & BitwiseCopyable>(_ at: Int, _: T.Type) -> T { T(littleEndian: tail.loadUnaligned(fromByteOffset: at, as: T.self)) }
    switch kind {
    case .update, .freeze, .skip, .beacon: return .none
    case .spec:
      guard tail.count >= 4 else { throw .field("spec", "\(tail.count) bytes, at least 4 needed") }
      return .spec(semanticsVersion: int(0, UInt32.self), canonicalBytes: Array(tail[4...]))
    case .reset:
      guard tail.count <= resetNameBytesMax, let name = String(strictUTF8: tail) else {
        throw .field("reset", "the checkpoint's name is not UTF-8 of at most \(resetNameBytesMax) bytes")
      }
      return .reset(checkpoint: name)
    case .thaw:
      guard tail.count % thawSourceBytes == 0, tail.count / thawSourceBytes <= thawSourcesMax else {
        throw .field("thaw", "\(tail.count) bytes are not whole sources of \(thawSourceBytes), or too many")
      }
      var sources: [ThawSource] = []
      for at in stride(from: 0, to: tail.count, by: thawSourceBytes) {
        let action = int(at + 4, UInt32.self)
        guard action <= 1 else { throw .field("thaw", "action \(action), 0 (resume) or 1 (skip to) expected") }
        let to = SourceProgress(offset: int(at + 8, Int64.self), featuresTo: int(at + 16, Int64.self), labelsTo: int(at + 24, Int64.self), batch: int(at + 32, UInt64.self))
        sources.append(ThawSource(partition: int(at, Int32.self), skipTo: action == 1 ? to : nil))
      }
      return .thaw(sources)
    case .expire:
      guard tail.count == 16 else { throw .field("expire", "\(tail.count) bytes, 16 expected") }
      let slice = int(0, UInt32.self)
      let slices = int(4, UInt32.self)
      guard slices > 0, slice < slices else { throw .field("expire", "slice \(slice) of \(slices)") }
      return .expire(slice: slice, slices: slices, beforeMilliseconds: int(8, Int64.self))
    }
  }
}

extension String {
  /// Nil when the bytes are not UTF-8: decoding repairs, and what was repaired was not valid.
  init?(strictUTF8 bytes: UnsafeRawBufferPointer) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard text.utf8.elementsEqual(bytes) else { return nil }
    self = text
  }
}
