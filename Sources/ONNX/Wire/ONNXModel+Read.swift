internal import Foundation
internal import Model

extension ONNXModel {
  /// Reads a model from bytes, which are copied. External data is refused: it needs a folder.
  public static func read(_ bytes: some Sequence<UInt8>) throws(ONNXError) -> ONNXModel {
    let copy = CopiedBytes(Array(bytes))
    return try read(borrowing: copy.bytes, owner: copy, external: nil)
  }

  /// Reads a model from bytes that `owner` keeps: large tensors are borrowed, not copied.
  public static func read(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject) throws(ONNXError) -> ONNXModel {
    try read(borrowing: bytes, owner: owner, external: nil)
  }

  /// Maps and reads a model file. External data may lie in files beside it, inside its folder.
  public static func read(path: String) throws(ONNXError) -> ONNXModel {
    let file = try MappedFile(path: path)
    let folder = (path as NSString).deletingLastPathComponent
    return try read(borrowing: file.bytes, owner: file, external: ExternalData(folder: folder.isEmpty ? "." : folder))
  }

  private static func read(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject, external: TensorSource?) throws(ONNXError) -> ONNXModel {
    try ModelReader(owner: owner, external: external, texts: TextTable()).model(bytes)
  }
}

/// Bytes of our own.
final class CopiedBytes: @unchecked Sendable {
  private let memory: UnsafeMutableRawBufferPointer

  init(_ bytes: [UInt8]) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 64)
    bytes.withUnsafeBytes { copy.copyMemory(from: $0) }
    memory = copy
    count = bytes.count
  }

  private let count: Int

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

  deinit { memory.deallocate() }
}

/// A file, mapped for reading as long as this lives.
final class MappedFile: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer

  init(path: String) throws(ONNXError) {
    func failure(_ what: String) -> ONNXError { ONNXError(place: path, reason: "\(what): \(String(cString: strerror(errno)))") }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("cannot be opened") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure("has no size") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw ONNXError(place: path, reason: "is not a file") }
    let count = Int(status.st_size)
    guard count > 0 else { throw ONNXError(place: path, reason: "is empty") }
    guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else { throw failure("cannot be mapped") }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
  }

  deinit { if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) } }
}

/// Tensors that lie in files beside the model (TensorProto.external_data).
final class ExternalData: TensorSource {
  private let folder: String
  private var files: [String: MappedFile] = [:]

  init(folder: String) { self.folder = folder }

  override func bytes(
    _ keys: [String: String], element: TensorElement, sizes: [Int], byteCount: Int, place: String
  ) throws(ONNXError) -> (UnsafeRawBufferPointer, AnyObject) {
    func error(_ reason: String) -> ONNXError { ONNXError(place: place, reason: "external data: \(reason)") }
    guard let location = keys["location"], !location.isEmpty else { throw error("no location") }
    let parts = location.split(separator: "/", omittingEmptySubsequences: false)
    guard !location.hasPrefix("/"), !location.utf8.contains(0), parts.allSatisfy({ $0 != ".." && !$0.isEmpty }) else {
      throw error("location \"\(location)\" leaves the model's folder")
    }
    let path = folder + "/" + location
    // Links must not lead out of the folder either.
    let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let realFolder = URL(fileURLWithPath: folder).resolvingSymlinksInPath().path
    guard real.hasPrefix(realFolder.hasSuffix("/") ? realFolder : realFolder + "/") else { throw error("location \"\(location)\" leaves the model's folder") }
    func number(_ key: String, _ usual: Int) throws(ONNXError) -> Int {
      guard let text = keys[key] else { return usual }
      guard let number = Int(text), number >= 0 else { throw error("\(key) \"\(text)\"") }
      return number
    }
    let offset = try number("offset", 0)
    let file: MappedFile
    if let known = files[location] { file = known } else {
      file = try MappedFile(path: path)
      files[location] = file
    }
    let length = try number("length", byteCount)
    guard length == byteCount else { throw error("\(length) bytes, where the shape needs \(byteCount)") }
    guard offset <= file.bytes.count, byteCount <= file.bytes.count - offset else { throw error("bytes \(offset) to \(offset) + \(byteCount) of \(file.bytes.count)") }
    return (UnsafeRawBufferPointer(rebasing: file.bytes[offset..<(offset + byteCount)]), file)
  }
}
