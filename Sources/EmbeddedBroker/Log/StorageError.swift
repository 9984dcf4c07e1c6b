#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The file system refused something: which call, on which file, and why.
struct StorageError: Error, CustomStringConvertible {
  let operation: StaticString
  let path: String
  let code: Int32

  /// Captures `errno`, so make it right after the call that failed.
  init(_ operation: StaticString, _ path: String) {
    self.operation = operation
    self.path = path
    self.code = errno
  }

  init(_ operation: StaticString, _ path: String, code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
  }

  var description: String { "\(operation) \(path): \(String(cString: strerror(code)))" }
}
