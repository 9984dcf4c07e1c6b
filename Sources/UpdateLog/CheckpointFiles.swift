internal import Foundation

func systemMessage(_ code: Int32) -> String { String(cString: strerror(code)) }

/// The few things that checkpoints do to files. Tests put faults in.
struct CheckpointFiles: Sendable {
  /// `write(2)`: bytes written, or -1 with `errno`.
  var write: @Sendable (_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int = { Foundation.write($0, $1.baseAddress, $1.count) }
  /// `fsync(2)`: 0, or -1 with `errno`.
  var sync: @Sendable (_ descriptor: Int32) -> Int32 = { Foundation.fsync($0) }

  static func failure(_ path: String, _ operation: String) -> CheckpointError {
    let code = errno
    return code == ENOSPC || code == EDQUOT || code == EFBIG ? .noSpace(path: path) : .io(path: path, operation: operation, errno: code)
  }

  func makeDirectory(_ path: String) throws(CheckpointError) {
    // One level after the other, so that an error names the right one.
    var made = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      made += "/" + part
      if mkdir(made, 0o755) != 0, errno != EEXIST { throw Self.failure(made, "mkdir") }
    }
  }

  func create(_ path: String) throws(CheckpointError) -> Int32 {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.failure(path, "create") }
    return descriptor
  }

  func writeAll(_ descriptor: Int32, _ path: String, _ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    var done = 0
    while done < bytes.count {
      let written = write(descriptor, UnsafeRawBufferPointer(rebasing: bytes[done...]))
      if written < 0 {
        if errno == EINTR { continue }
        throw Self.failure(path, "write")
      }
      done += written
    }
  }

  func syncAndClose(_ descriptor: Int32, _ path: String) throws(CheckpointError) {
    let result = sync(descriptor)
    let failure = Self.failure(path, "fsync")
    close(descriptor)
    if result != 0 { throw failure }
  }

  func moveIntoPlace(_ temporary: String, _ path: String) throws(CheckpointError) {
    guard rename(temporary, path) == 0 else { throw Self.failure(path, "rename") }
  }

  /// Makes renames in a directory last.
  func syncDirectory(_ path: String) throws(CheckpointError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure(path, "open") }
    try syncAndClose(descriptor, path)
  }

  func list(_ path: String) throws(CheckpointError) -> [String] {
    guard let directory = opendir(path) else {
      if errno == ENOENT { return [] }
      throw Self.failure(path, "list")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Best effort: what stays behind is tried again with the next checkpoint.
  func removeDirectory(_ path: String) {
    for name in (try? list(path)) ?? [] { unlink(path + "/" + name) }
    rmdir(path)
  }
}

/// Reads one file from front to back, into one buffer.
final class CheckpointFileReader {
  let path: String
  private let descriptor: Int32
  private(set) var offset = 0
  private var buffer: UnsafeMutableRawBufferPointer

  init(_ path: String) throws(CheckpointError) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw errno == ENOENT ? .missing(path: path) : CheckpointFiles.failure(path, "open") }
    self.path = path
    buffer = .allocate(byteCount: 1 << 16, alignment: 64)
  }

  deinit {
    close(descriptor)
    buffer.deallocate()
  }

  /// The next `count` bytes: borrowed until the next call.
  func read(_ count: Int) throws(CheckpointError) -> UnsafeRawBufferPointer {
    if count > buffer.count {
      buffer.deallocate()
      buffer = .allocate(byteCount: count, alignment: 64)
    }
    var done = 0
    while done < count {
      let got = Foundation.read(descriptor, buffer.baseAddress! + done, count - done)
      if got < 0 {
        if errno == EINTR { continue }
        throw CheckpointFiles.failure(path, "read")
      }
      if got == 0 { throw .torn(path: path, atByte: offset + done) }
      done += got
    }
    offset += count
    return UnsafeRawBufferPointer(rebasing: buffer[..<count])
  }

  var isAtEnd: Bool {
    var byte: UInt8 = 0
    return pread(descriptor, &byte, 1, off_t(offset)) == 0
  }
}
