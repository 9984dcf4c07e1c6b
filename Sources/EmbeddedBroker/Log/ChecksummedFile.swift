import CKernels
import NIOCore

/// A small file that is either whole or absent: magic, payload, CRC-32C, replaced by rename.
enum ChecksummedFile {
  /// Replaces `path`. A crash leaves the old file or the new one.
  static func write(_ path: String, magic: UInt32, _ build: (inout WireWriter) -> Void) throws(StorageError) {
    var writer = WireWriter(ByteBuffer())
    writer.buffer.writeInteger(magic)
    build(&writer)
    let checksum = writer.buffer.withUnsafeReadableBytes { mr_crc32c(0, $0.baseAddress, $0.count) }
    writer.buffer.writeInteger(checksum)
    let temporary = path + ".new"
    let descriptor = try LogFile.open(temporary, create: true)
    defer { closeDescriptor(descriptor) }
    try LogFile.truncate(descriptor, temporary, to: 0)
    do throws(StorageError) {
      let written = writer.buffer.withUnsafeReadableBytes { bytes in
        Result { () throws(StorageError) in
          try LogFile.write(descriptor, temporary, bytes, UnsafeRawBufferPointer(start: nil, count: 0), at: 0)
        }
      }
      try written.get()
      try LogFile.rename(temporary, path)
    } catch {
      try? LogFile.remove(temporary)
      throw error
    }
  }

  /// The payload, or nil when the file is absent, torn or of another kind.
  static func read(_ path: String, magic: UInt32) -> [UInt8]? {
    guard LogFile.exists(path), let descriptor = try? LogFile.open(path, create: false) else { return nil }
    defer { closeDescriptor(descriptor) }
    guard let size = try? LogFile.size(descriptor, path), size >= 8, size <= 1 << 31 else { return nil }
    var bytes = [UInt8](repeating: 0, count: size)
    guard let got = try? bytes.withUnsafeMutableBytes({ try LogFile.read(descriptor, path, into: $0, at: 0) }), got == size
    else { return nil }
    let whole = bytes.withUnsafeBytes { pointer in
      pointer.loadUnaligned(fromByteOffset: 0, as: UInt32.self).bigEndian == magic
        && pointer.loadUnaligned(fromByteOffset: size - 4, as: UInt32.self).bigEndian
          == mr_crc32c(0, pointer.baseAddress, size - 4)
    }
    guard whole else { return nil }
    return Array(bytes[4..<(size - 4)])
  }
}
