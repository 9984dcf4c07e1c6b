internal import Foundation

/// The bytes of a bundle: mapped, or copied into memory of our own. Immutable; given back when the last holder goes.
final class BundleStorage: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
  let isMapped: Bool

  private init(_ bytes: UnsafeRawBufferPointer, isMapped: Bool) {
    self.bytes = bytes
    self.isMapped = isMapped
  }

  deinit {
    guard let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress) else { return }
    if isMapped { munmap(base, bytes.count) } else { base.deallocate() }
  }

  /// Aligned to a page, so that sections are as aligned as in the file.
  convenience init(copying source: UnsafeRawBufferPointer) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, source.count), alignment: BundleFormat.largeAlignment)
    memory.copyMemory(from: source)
    self.init(UnsafeRawBufferPointer(start: memory.baseAddress, count: source.count), isMapped: false)
  }

  /// - Parameter mappedBytesMin: smaller files are copied.
  convenience init(path: String, mappedBytesMin: Int) throws(BundleError) {
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("cannot be opened") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.failure("cannot be read") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw BundleError(place: "file", reason: "this is no regular file") }
    let count = Int(status.st_size)
    guard count <= BundleFormat.fileBytesMax else { throw BundleError(place: "file", reason: "\(count) bytes, more than \(BundleFormat.fileBytesMax)") }
    guard count > 0 else { throw BundleError(place: "file", reason: "it is empty") }
    if count >= mappedBytesMin {
      guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else { throw Self.failure("cannot be mapped") }
      self.init(UnsafeRawBufferPointer(start: base, count: count), isMapped: true)
    } else {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: BundleFormat.largeAlignment)
      do {
        try Self.fill(memory, from: descriptor)
      } catch {
        memory.deallocate()
        throw error
      }
      self.init(UnsafeRawBufferPointer(memory), isMapped: false)
    }
  }

  private static func fill(_ memory: UnsafeMutableRawBufferPointer, from descriptor: Int32) throws(BundleError) {
    var done = 0
    while done < memory.count {
      let got = pread(descriptor, memory.baseAddress.map { $0 + done }, memory.count - done, off_t(done))
      if got < 0 {
        if errno == EINTR { continue }
        throw failure("cannot be read")
      }
      guard got > 0 else { throw BundleError(place: "file", reason: "it became shorter while it was read: replace bundles by renaming, never in place") }
      done += got
    }
  }

  static func failure(_ what: String) -> BundleError { BundleError(place: "file", reason: "\(what): \(String(cString: strerror(errno)))") }
}
