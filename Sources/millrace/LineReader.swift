import Foundation

/// Lines of a file or of standard input, with their numbers.
final class LineReader {
  private let file: UnsafeMutablePointer<FILE>
  private var buffer: UnsafeMutablePointer<CChar>?
  private var capacity = 0
  /// The number of the line read last; the first is 1.
  private(set) var number = 0

  /// Nil when the file cannot be opened; `errno` says why.
  init?(path: String) {
    guard let file = path == "-" ? fdopen(dup(STDIN_FILENO), "r") : fopen(path, "r") else { return nil }
    self.file = file
  }

  deinit {
    free(buffer)
    fclose(file)
  }

  /// The next line without its end; nil after the last.
  func next() -> String? {
    let count = getline(&buffer, &capacity, file)
    guard count >= 0, let buffer else { return nil }
    number += 1
    var bytes = UnsafeRawBufferPointer(start: buffer, count: count)
    while let last = bytes.last, last == 0x0A || last == 0x0D { bytes = UnsafeRawBufferPointer(rebasing: bytes.dropLast()) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
