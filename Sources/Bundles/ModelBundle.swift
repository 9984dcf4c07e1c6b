public import Model
internal import Synchronization

/// A model's file: read-only, immutable, its sections borrowed as long as it lives. Any thread.
///
/// Nothing in the file is trusted: what `open` returns has a header, a manifest and a directory whose checksums hold, and sections that lie
/// within the file, aligned and apart. What is *in* a section is the family's to check, by `verify()` or by its own rules.
///
/// Small files are copied into memory, larger ones are mapped. A mapped file that somebody makes shorter would end the process at the next
/// read of what is gone (SIGBUS), as with every mapped file: so bundles are replaced by renaming a new file over the old one, which
/// `BundleWriter` does, and which leaves a mapping as it was. Who cannot be sure of that opens with `residence: .copied`.
public final class ModelBundle: @unchecked Sendable {
  public enum Verification: Sendable {
    /// Checksums of header, manifest and directory, and where sections lie.
    case headers
    /// Those of each section too, before its bytes are first handed out: what is used is read once. `verify()` looks at the rest.
    case asRead
    /// Those of all sections at once: the whole file is read, at the speed of `mr_crc32c`.
    case everything
  }

  /// Where the bytes live.
  public enum Residence: Sendable {
    /// Below `copiedBytesMax` copied, mapped otherwise.
    case automatic
    case mapped
    case copied
  }

  /// Smaller files are copied.
  public static let copiedBytesMax = 1 << 20

  public let path: String
  public let manifest: BundleManifest
  public let sections: [BundleSection]
  private let storage: BundleStorage
  private let manifestEnd: Int
  private let directoryEnd: Int
  private let indices: [String: Int]
  private let verifiesAsRead: Bool
  /// By section: whether its checksum is known to hold.
  private let isVerified: Mutex<[Bool]>

  /// - Throws: with place and reason; `place` begins with the path.
  public static func open(
    path: String, verifying: Verification = .headers, residence: Residence = .automatic
  ) throws(BundleError) -> ModelBundle {
    do {
      let mappedBytesMin = switch residence {
      case .automatic: copiedBytesMax
      case .mapped: 0
      case .copied: Int.max
      }
      let storage = try BundleStorage(path: path, mappedBytesMin: mappedBytesMin)
      let bundle = try ModelBundle(storage: storage, path: path, verifiesAsRead: verifying == .asRead)
      if verifying == .everything { try bundle.verify() }
      return bundle
    } catch {
      throw BundleError(place: "\(path): \(error.place)", reason: error.reason)
    }
  }

  /// A bundle in memory, copied from `bytes`; `name` stands for its path.
  public static func read(_ bytes: UnsafeRawBufferPointer, name: String = "memory", verifying: Verification = .headers) throws(BundleError) -> ModelBundle {
    let bundle = try ModelBundle(storage: BundleStorage(copying: bytes), path: name, verifiesAsRead: verifying == .asRead)
    if verifying == .everything { try bundle.verify() }
    return bundle
  }

  private init(storage: BundleStorage, path: String, verifiesAsRead: Bool) throws(BundleError) {
    let bytes = storage.bytes
    let header = try BundleHeader(UnsafeRawBufferPointer(rebasing: bytes.prefix(BundleFormat.headerBytes)))
    guard header.fileBytes == UInt64(bytes.count) else {
      throw BundleError(
        place: "header", reason: "the file has \(bytes.count) bytes, not the \(header.fileBytes) that were written: it was \(header.fileBytes > UInt64(bytes.count) ? "cut off" : "added to")")
    }
    guard header.manifestOffset == UInt64(BundleFormat.headerBytes), header.manifestBytes <= UInt64(BundleFormat.manifestBytesMax),
      header.manifestBytes <= UInt64(bytes.count - BundleFormat.headerBytes)
    else {
      throw BundleError(place: "header", reason: "a manifest of \(header.manifestBytes) bytes from byte \(header.manifestOffset) on does not fit")
    }
    let manifestEnd = BundleFormat.headerBytes + Int(header.manifestBytes)
    let directoryOffset = BundleFormat.aligned(manifestEnd, to: BundleFormat.alignment)
    guard header.directoryOffset == UInt64(directoryOffset), directoryOffset <= bytes.count, header.sectionCount <= UInt32(BundleFormat.sectionsMax) else {
      throw BundleError(place: "header", reason: "a directory of \(header.sectionCount) sections from byte \(header.directoryOffset) on does not fit")
    }
    let manifestBytes = UnsafeRawBufferPointer(rebasing: bytes[BundleFormat.headerBytes..<manifestEnd])
    guard BundleFormat.checksum(manifestBytes) == header.manifestChecksum else {
      throw BundleError(place: "manifest", reason: "the checksum does not hold: the file is damaged")
    }
    let directoryEnd = try Self.directoryEnd(bytes, offset: directoryOffset, count: Int(header.sectionCount))
    let directory = UnsafeRawBufferPointer(rebasing: bytes[directoryOffset..<directoryEnd])
    guard BundleFormat.checksum(directory) == header.directoryChecksum else {
      throw BundleError(place: "directory", reason: "the checksum does not hold: the file is damaged")
    }
    sections = try BundleDirectory.decode(directory, count: Int(header.sectionCount), offset: directoryOffset, fileBytes: bytes.count)
    manifest = try BundleManifest(json: JSONValue.decode(manifestBytes, place: "manifest"))
    self.storage = storage
    self.path = path
    self.manifestEnd = manifestEnd
    self.directoryEnd = directoryEnd
    self.verifiesAsRead = verifiesAsRead
    isVerified = Mutex(Array(repeating: false, count: sections.count))
    indices = Dictionary(sections.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Entries, and the names behind them, as long as the last entry says.
  private static func directoryEnd(_ bytes: UnsafeRawBufferPointer, offset: Int, count: Int) throws(BundleError) -> Int {
    let namesStart = offset + count * BundleFormat.entryBytes
    guard namesStart <= bytes.count else { throw BundleError(place: "directory", reason: "\(count) sections from byte \(offset) on do not fit") }
    guard count > 0 else { return namesStart }
    let last = namesStart - BundleFormat.entryBytes
    let nameStart = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: last + 20, as: UInt32.self))
    let nameBytes = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: last + 24, as: UInt16.self))
    let end = namesStart + Int(nameStart) + Int(nameBytes)
    guard end <= bytes.count else { throw BundleError(place: "directory", reason: "its names do not fit") }
    return end
  }

  /// Of the whole file.
  public var byteCount: Int { storage.bytes.count }

  /// False when the bytes were copied.
  public var isMapped: Bool { storage.isMapped }

  public func contains(_ name: String) -> Bool { indices[name] != nil }

  public func section(_ name: String) throws(BundleError) -> BundleSection { sections[try index(name)] }

  private func index(_ name: String) throws(BundleError) -> Int {
    guard let index = indices[name] else { throw BundleError(place: "section \"\(name)\"", reason: "there is none") }
    return index
  }

  /// The section's bytes: aligned to 64, or to 4,096 when there are 64 KiB or more. Borrowed as long as the bundle lives.
  public func bytes(_ name: String) throws(BundleError) -> UnsafeRawBufferPointer {
    let index = try index(name)
    if verifiesAsRead { try verify(section: index) }
    return bytes(of: sections[index])
  }

  /// Copies the section to `target`, which has room for it, and checks the checksum on the way: for what shall live elsewhere than in the
  /// file's mapping. When it throws, `target` holds anything.
  public func copy(_ name: String, to target: UnsafeMutableRawBufferPointer) throws(BundleError) {
    let index = try index(name)
    let section = sections[index]
    guard let start = target.baseAddress, target.count >= section.byteCount else {
      precondition(target.count >= section.byteCount, "\(target.count) bytes for a section of \(section.byteCount)")
      return
    }
    let isDue = verifiesAsRead && !isVerified.withLock { $0[index] }
    var checksum: UInt32 = 0
    try storage.copy(section.offset..<(section.offset + section.byteCount), to: start) { slice in
      if isDue { checksum = BundleFormat.checksum(slice, after: checksum) }
    }
    if isDue { try settle(index, checksum) }
  }

  private func bytes(of section: BundleSection) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: storage.bytes[section.offset..<(section.offset + section.byteCount)])
  }

  /// The section as values of `type`, for types of which every pattern of bits is a value (numbers, and structures of numbers).
  /// - Parameter count: when given, what the section must hold.
  public func array<T: BitwiseCopyable>(_ name: String, of type: T.Type, count: Int? = nil) throws(BundleError) -> UnsafeBufferPointer<T> {
    let bytes = try bytes(name)
    let stride = MemoryLayout<T>.stride
    guard bytes.count % stride == 0 else {
      throw BundleError(place: "section \"\(name)\"", reason: "\(bytes.count) bytes are no whole number of elements of \(stride)")
    }
    if let count, bytes.count / stride != count {
      throw BundleError(place: "section \"\(name)\"", reason: "\(bytes.count / stride) elements where \(count) are due")
    }
    return UnsafeBufferPointer(start: bytes.baseAddress?.assumingMemoryBound(to: T.self), count: bytes.count / stride)
  }

  /// The same, of a section whose element and shape must be these: what tensors are read by.
  public func tensor<T: BitwiseCopyable>(
    _ name: String, of type: T.Type, element: TensorElement, shape: [Int]
  ) throws(BundleError) -> UnsafeBufferPointer<T> {
    try require(name, element: element, shape: shape)
    return try array(name, of: type)
  }

  /// Throws when there is no section of this name, element and shape.
  public func require(_ name: String, element: TensorElement, shape: [Int]) throws(BundleError) {
    let section = try section(name)
    guard section.element == element, section.shape == shape else {
      throw BundleError(place: "section \"\(name)\"", reason: "\(section.element.datatype) \(section.shape) where \(element.datatype) \(shape) is due")
    }
  }

  /// Reads what was not verified yet, at first the whole file: checksums of all sections, and zeros between the parts.
  public func verify() throws(BundleError) {
    try zeros(manifestEnd, BundleFormat.aligned(manifestEnd, to: BundleFormat.alignment))
    var end = directoryEnd
    for (index, section) in sections.enumerated() {
      try zeros(end, section.offset)
      try verify(section: index)
      end = section.offset + section.byteCount
    }
  }

  private func verify(section index: Int) throws(BundleError) {
    guard !isVerified.withLock({ $0[index] }) else { return }
    try settle(index, BundleFormat.checksum(bytes(of: sections[index])))
  }

  private func settle(_ index: Int, _ checksum: UInt32) throws(BundleError) {
    guard checksum == sections[index].checksum else {
      throw BundleError(place: "section \"\(sections[index].name)\"", reason: "the checksum does not hold: the file is damaged")
    }
    isVerified.withLock { $0[index] = true }
  }

  private func zeros(_ start: Int, _ end: Int) throws(BundleError) {
    guard start < end else { return }
    guard storage.bytes[start..<end].allSatisfy({ $0 == 0 }) else {
      throw BundleError(place: "byte \(start)", reason: "between two parts something stands: the file is damaged")
    }
  }

  /// The computed checksum of a section, whatever the directory says: for `inspect`.
  public func computedChecksum(_ name: String) throws(BundleError) -> UInt32 { BundleFormat.checksum(try bytes(name)) }
}

/// The short name, for files that do not import Foundation (which has a `Bundle` of its own).
public typealias Bundle = ModelBundle
