internal import CKernels
internal import Foundation

/// The bytes of a bundle: mapped, or copied into memory of our own. Immutable; given back when the last holder goes.
final class BundleStorage: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
  /// Of a mapped file; nil: the bytes are a copy.
  private let descriptor: Int32?
  var isMapped: Bool { descriptor != nil }

  private init(_ bytes: UnsafeRawBufferPointer, descriptor: Int32?) {
    self.bytes = bytes
    self.descriptor = descriptor
  }

  deinit {
    guard let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress) else { return }
    guard let descriptor else { return base.deallocate() }
    mr_pages_unmap(base, bytes.count)
    close(descriptor)
  }

  /// Copies `range`, which lies within the bytes, to `target`, a slice at a time; `each` sees every slice while it is in the processor's
  /// cache. A mapped file is read as files are: its pages do not become pages of this process.
  func copy(_ range: Range<Int>, to target: UnsafeMutableRawPointer, each: (UnsafeRawBufferPointer) -> Void) throws(BundleError) {
    var done = 0
    while done < range.count {
      let slice = UnsafeMutableRawBufferPointer(start: target + done, count: min(Self.sliceBytes, range.count - done))
      if let descriptor {
        try Self.fill(slice, from: descriptor, offset: range.lowerBound + done)
      } else {
        slice.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[(range.lowerBound + done)..<(range.lowerBound + done + slice.count)]))
      }
      each(UnsafeRawBufferPointer(slice))
      done += slice.count
    }
  }

  /// Some microseconds of the kernel's copying, within which most kernels let nobody else on the processor; and in a core's own cache.
  private static let sliceBytes = 1 << 15

  /// Aligned to a page, so that sections are as aligned as in the file.
  convenience init(copying source: UnsafeRawBufferPointer) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, source.count), alignment: BundleFormat.largeAlignment)
    memory.copyMemory(from: source)
    self.init(UnsafeRawBufferPointer(start: memory.baseAddress, count: source.count), descriptor: nil)
  }

  /// - Parameter mappedBytesMin: smaller files are copied.
  convenience init(path: String, mappedBytesMin: Int) throws(BundleError) {
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("cannot be opened") }
    var isKept = false
    defer { if !isKept { close(descriptor) } }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.failure("cannot be read") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw BundleError(place: "file", reason: "this is no regular file") }
    let count = Int(status.st_size)
    guard count <= BundleFormat.fileBytesMax else { throw BundleError(place: "file", reason: "\(count) bytes, more than \(BundleFormat.fileBytesMax)") }
    guard count > 0 else { throw BundleError(place: "file", reason: "it is empty") }
    if count >= mappedBytesMin {
      guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else { throw Self.failure("cannot be mapped") }
      isKept = true
      self.init(UnsafeRawBufferPointer(start: base, count: count), descriptor: descriptor)
    } else {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: BundleFormat.largeAlignment)
      do {
        try Self.fill(memory, from: descriptor, offset: 0)
      } catch {
        memory.deallocate()
        throw error
      }
      self.init(UnsafeRawBufferPointer(memory), descriptor: nil)
    }
  }

  private static func fill(_ memory: UnsafeMutableRawBufferPointer, from descriptor: Int32, offset: Int) throws(BundleError) {
    var done = 0
    while done < memory.count {
      let got = pread(descriptor, memory.baseAddress.map { $0 + done }, memory.count - done, off_t(offset + done))
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
