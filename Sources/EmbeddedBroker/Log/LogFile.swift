#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The few file operations that the log needs, with `EINTR` and short counts handled and errors typed.
enum LogFile {
  static func open(_ path: String, create: Bool) throws(StorageError) -> Int32 {
    let flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0)
    while true {
      let descriptor = unsafe_open(path, flags, 0o644)
      if descriptor >= 0 { return descriptor }
      if errno != EINTR { throw StorageError("open", path) }
    }
  }

  private static func unsafe_open(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    #if canImport(Glibc)
      Glibc.open(path, flags, mode)
    #else
      Darwin.open(path, flags, mode)
    #endif
  }

  static func size(_ descriptor: Int32, _ path: String) throws(StorageError) -> Int {
    var information = stat()
    guard fstat(descriptor, &information) == 0 else { throw StorageError("fstat", path) }
    return Int(information.st_size)
  }

  /// Writes both pieces at `position`. On failure some bytes may be there: the caller truncates.
  static func write(
    _ descriptor: Int32, _ path: String, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, at position: Int
  ) throws(StorageError) {
    let total = first.count + second.count
    var done = 0
    while done < total {
      var pieces = (
        iovec(iov_base: nil, iov_len: 0), iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
      )
      var count: Int32 = 2
      if done < first.count {
        pieces.0 = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress.map { $0 + done }), iov_len: first.count - done)
      } else {
        let skipped = done - first.count
        pieces.0 = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress.map { $0 + skipped }), iov_len: second.count - skipped)
        count = 1
      }
      let written = withUnsafePointer(to: &pieces) {
        $0.withMemoryRebound(to: iovec.self, capacity: 2) { pwritev(descriptor, $0, count, off_t(position + done)) }
      }
      if written < 0 {
        if errno == EINTR { continue }
        throw StorageError("write", path)
      }
      // A regular file takes nothing only when it cannot grow.
      if written == 0 { throw StorageError("write", path, code: ENOSPC) }
      done += written
    }
  }

  /// Reads up to `buffer.count` bytes; fewer only at the end of the file.
  static func read(_ descriptor: Int32, _ path: String, into buffer: UnsafeMutableRawBufferPointer, at position: Int)
    throws(StorageError) -> Int
  {
    var done = 0
    while done < buffer.count {
      let got = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(position + done))
      if got < 0 {
        if errno == EINTR { continue }
        throw StorageError("read", path)
      }
      if got == 0 { break }
      done += got
    }
    return done
  }

  static func truncate(_ descriptor: Int32, _ path: String, to size: Int) throws(StorageError) {
    while ftruncate(descriptor, off_t(size)) != 0 {
      if errno != EINTR { throw StorageError("truncate", path) }
    }
  }

  static func synchronize(_ descriptor: Int32, _ path: String) throws(StorageError) {
    guard fdatasync(descriptor) == 0 else { throw StorageError("fdatasync", path) }
  }

  static func makeDirectory(_ path: String) throws(StorageError) {
    if mkdir(path, 0o755) != 0, errno != EEXIST { throw StorageError("mkdir", path) }
  }

  /// Makes the directory and those above it.
  static func makeDirectories(_ path: String) throws(StorageError) {
    var prefix = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
      prefix += prefix.isEmpty || prefix.hasSuffix("/") ? "\(part)" : "/\(part)"
      try makeDirectory(prefix)
    }
  }

  /// The names in a directory, sorted, without `.` and `..`.
  static func list(_ path: String) throws(StorageError) -> [String] {
    guard let directory = opendir(path) else { throw StorageError("opendir", path) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  static func rename(_ from: String, _ to: String) throws(StorageError) {
    let result: Int32
    #if canImport(Glibc)
      result = Glibc.rename(from, to)
    #else
      result = Darwin.rename(from, to)
    #endif
    guard result == 0 else { throw StorageError("rename", from) }
  }

  static func remove(_ path: String) throws(StorageError) {
    if unlink(path) != 0, errno != ENOENT { throw StorageError("unlink", path) }
  }

  /// Removes a directory and everything in it. Follows no links.
  static func removeTree(_ path: String) throws(StorageError) {
    for name in try list(path) {
      let child = path + "/" + name
      var information = stat()
      guard lstat(child, &information) == 0 else { throw StorageError("lstat", child) }
      if information.st_mode & S_IFMT == S_IFDIR { try removeTree(child) } else { try remove(child) }
    }
    if rmdir(path) != 0, errno != ENOENT { throw StorageError("rmdir", path) }
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}

/// A file's bytes, mapped for reading. For scans of files that nobody truncates meanwhile.
final class MappedFile {
  private let bytes: UnsafeRawBufferPointer

  init(descriptor: Int32, path: String, count: Int) throws(StorageError) {
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
      throw StorageError("mmap", path)
    }
    bytes = UnsafeRawBufferPointer(start: address, count: count)
  }

  /// The bytes are there until `body` returns.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try withExtendedLifetime(self) { try body(bytes) }
  }

  deinit {
    if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
  }
}

func closeDescriptor(_ descriptor: Int32) { if descriptor >= 0 { close(descriptor) } }
