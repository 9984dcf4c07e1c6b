internal import Foundation
public import Model

/// Gathers a model's sections and writes them as one file: to a temporary file beside it, synced, then renamed, so that a reader finds the
/// old bundle or the new one, whole. One thread.
public final class BundleWriter {
  public var manifest: BundleManifest
  /// In the order in which they were added, which is that of the file. Offsets and checksums are made by `write`.
  public private(set) var sections: [BundleSection] = []
  private var parts: [Part] = []
  private var problem: BundleError?

  private struct Part {
    let bytes: UnsafeRawBufferPointer
    /// Keeps the bytes where they are.
    let owner: AnyObject
  }

  private final class Copy {
    let bytes: UnsafeMutableRawBufferPointer
    init(_ source: UnsafeRawBufferPointer) {
      bytes = .allocate(byteCount: max(1, source.count), alignment: BundleFormat.alignment)
      bytes.copyMemory(from: source)
    }
    init(_ source: [UInt8]) {
      bytes = .allocate(byteCount: source.count, alignment: BundleFormat.alignment)
      bytes.copyBytes(from: source)
    }
    deinit { bytes.deallocate() }
  }

  public init(manifest: BundleManifest) { self.manifest = manifest }

  /// Adds a section. A name that is there already, or bytes that are not what element and shape take, make `write` fail.
  /// - Parameter owner: keeps `bytes` alive and unchanged until the writer goes; nil: they are copied now.
  public func add(_ name: String, element: TensorElement, shape: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject? = nil) {
    let place = "section \"\(name)\""
    if BundleFormat.byteCount(element, shape) != bytes.count {
      problem = problem ?? BundleError(place: place, reason: "\(bytes.count) bytes, which is not what \(element.datatype) \(shape) takes")
    } else if shape.count > BundleFormat.rankMax {
      problem = problem ?? BundleError(place: place, reason: "\(shape.count) dimensions, more than \(BundleFormat.rankMax)")
    } else if name.isEmpty || name.utf8.count > BundleFormat.nameBytesMax {
      problem = problem ?? BundleError(place: place, reason: "a name has 1 to \(BundleFormat.nameBytesMax) bytes")
    } else if sections.count == BundleFormat.sectionsMax {
      problem = problem ?? BundleError(place: place, reason: "more than \(BundleFormat.sectionsMax) sections")
    }
    sections.append(BundleSection(name: name, element: element, shape: shape, offset: 0, byteCount: bytes.count, checksum: 0))
    if let owner {
      parts.append(Part(bytes: bytes, owner: owner))
    } else {
      let copy = Copy(bytes)
      parts.append(Part(bytes: UnsafeRawBufferPointer(start: copy.bytes.baseAddress, count: bytes.count), owner: copy))
    }
  }

  /// The same from an array; `shape` is its count when left out.
  public func add<T: BitwiseCopyable>(_ name: String, element: TensorElement, shape: [Int]? = nil, _ values: [T]) {
    values.withUnsafeBytes { bytes in
      add(name, element: element, shape: shape ?? [bytes.count / element.bytes], bytes: bytes)
    }
  }

  /// Takes over a section of another bundle as it is, under its name or another one.
  public func add(section name: String, of bundle: ModelBundle, as newName: String? = nil) throws(BundleError) {
    let section = try bundle.section(name)
    add(newName ?? name, element: section.element, shape: section.shape, bytes: try bundle.bytes(name), owner: bundle)
  }

  // MARK: Writing

  /// Everything before the first section; gives the sections their offsets and checksums.
  private func layOut() throws(BundleError) -> [UInt8] {
    if let problem { throw problem }
    var seen: Set<String> = []
    for section in sections where !seen.insert(section.name).inserted {
      throw BundleError(place: "section \"\(section.name)\"", reason: "there twice")
    }
    // What cannot be read back is not written.
    _ = try BundleManifest(json: manifest.json)
    let text = manifest.json.encoded()
    guard text.count <= BundleFormat.manifestBytesMax else {
      throw BundleError(place: "manifest", reason: "\(text.count) bytes, more than \(BundleFormat.manifestBytesMax)")
    }
    let directoryOffset = BundleFormat.aligned(BundleFormat.headerBytes + text.count, to: BundleFormat.alignment)
    let directoryBytes = sections.reduce(0) { $0 + BundleFormat.entryBytes + $1.name.utf8.count }
    var end = directoryOffset + directoryBytes
    for index in sections.indices {
      sections[index].offset = BundleFormat.aligned(end, to: BundleFormat.alignment(ofBytes: sections[index].byteCount))
      sections[index].checksum = BundleFormat.checksum(parts[index].bytes)
      end = sections[index].offset + sections[index].byteCount
    }
    let directory = BundleDirectory.encode(sections)
    let header = BundleHeader(
      fileBytes: end, manifestOffset: BundleFormat.headerBytes, manifestBytes: text.count, directoryOffset: directoryOffset,
      sectionCount: sections.count, manifestChecksum: text.withUnsafeBytes({ BundleFormat.checksum($0) }),
      directoryChecksum: directory.withUnsafeBytes({ BundleFormat.checksum($0) }))
    var head = [UInt8](repeating: 0, count: BundleFormat.headerBytes)
    head.withUnsafeMutableBytes { bytes in if let base = bytes.baseAddress { header.write(to: base) } }
    head += text
    head += [UInt8](repeating: 0, count: directoryOffset - head.count)
    head += directory
    return head
  }

  /// Hands out the file's bytes in order.
  private func emit(_ out: (UnsafeRawBufferPointer) throws(BundleError) -> Void) throws(BundleError) {
    let head = Copy(try layOut())
    let padding = Copy([UInt8](repeating: 0, count: BundleFormat.largeAlignment))
    try out(UnsafeRawBufferPointer(head.bytes))
    var at = head.bytes.count
    for (section, part) in zip(sections, parts) {
      try out(UnsafeRawBufferPointer(rebasing: padding.bytes[..<(section.offset - at)]))
      try out(part.bytes)
      at = section.offset + section.byteCount
    }
  }

  /// The file's bytes in memory.
  public func encoded() throws(BundleError) -> [UInt8] {
    var bytes: [UInt8] = []
    try emit { part throws(BundleError) in bytes.append(contentsOf: part) }
    return bytes
  }

  /// Writes the file: all of it or nothing.
  /// - Returns: its bytes.
  @discardableResult
  public func write(to path: String) throws(BundleError) -> Int {
    do {
      return try writeFile(path)
    } catch {
      throw BundleError(place: "\(path): \(error.place)", reason: error.reason)
    }
  }

  private func writeFile(_ path: String) throws(BundleError) -> Int {
    let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).partial"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw BundleStorage.failure("cannot be created") }
    var isOpen = true
    do throws(BundleError) {
      var count = 0
      try emit { part throws(BundleError) in
        try Self.writeAll(part, to: descriptor)
        count += part.count
      }
      guard fsync(descriptor) == 0 else { throw BundleStorage.failure("cannot be made to last") }
      isOpen = false
      guard close(descriptor) == 0 else { throw BundleStorage.failure("cannot be written") }
      guard rename(temporary, path) == 0 else { throw BundleStorage.failure("cannot be moved into place") }
      Self.syncFolder(of: path)
      return count
    } catch {
      if isOpen { close(descriptor) }
      unlink(temporary)
      throw error
    }
  }

  private static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) throws(BundleError) {
    var done = 0
    while done < bytes.count {
      let written = Foundation.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if written < 0 {
        if errno == EINTR { continue }
        throw BundleStorage.failure("cannot be written")
      }
      done += written
    }
  }

  /// Makes the rename last. Some file systems refuse it for folders; then the rename lasts when they say so.
  private static func syncFolder(of path: String) {
    let folder = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) : "."
    let descriptor = open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
