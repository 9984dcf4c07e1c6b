internal import CKernels
internal import Model

/// The bytes of a bundle. All numbers are little-endian.
///
///     header      64 bytes: magic (8), format version (u32), header bytes (u32), file bytes (u64), manifest offset and bytes (u64, u64),
///                 directory offset (u64), sections (u32), CRC-32C of the manifest (u32), CRC-32C of the directory (u32), CRC-32C of the
///                 60 bytes before (u32)
///     manifest    JSON
///     directory   one entry of 96 bytes for each section, in the order of the sections: offset (u64), bytes (u64), CRC-32C (u32), start of
///                 its name (u32), bytes of its name (u16), element (u8), rank (u8), zero (u32), eight dimensions (u64, zero beyond the rank);
///                 then the bytes of all names, end to end
///     sections    each begins at a multiple of 64 (of 4,096 from 64 KiB on); bytes between parts are zero
enum BundleFormat {
  /// As PNG's: a byte that is no text, the name, and line ends that a transfer as text would change.
  static let magic: [UInt8] = [0x8E, 0x4D, 0x52, 0x42, 0x0D, 0x0A, 0x1A, 0x0A]
  static let version: UInt32 = 1
  static let headerBytes = 64
  static let entryBytes = 96
  static let rankMax = BundleManifest.rankMax
  static let sectionsMax = 65_536
  static let nameBytesMax = 1_024
  static let manifestBytesMax = 64 << 20
  static let alignment = 64
  static let largeAlignment = 4_096
  static let largeBytesMin = 64 << 10
  static let fileBytesMax = 1 << 46

  static func alignment(ofBytes count: Int) -> Int { count >= largeBytesMin ? largeAlignment : alignment }
  static func aligned(_ offset: Int, to alignment: Int) -> Int { (offset + alignment - 1) & ~(alignment - 1) }

  /// - Parameter before: the checksum of what stands before `bytes`.
  static func checksum(_ bytes: UnsafeRawBufferPointer, after before: UInt32 = 0) -> UInt32 { mr_crc32c(before, bytes.baseAddress, bytes.count) }

  /// Elements times their size; nil when that is no number of bytes that a file can have.
  static func byteCount(_ element: TensorElement, _ shape: [Int]) -> Int? {
    var count = element.bytes
    for dimension in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { return nil }
      count = product
    }
    return count
  }
}

/// The first 64 bytes.
struct BundleHeader: Equatable {
  var fileBytes: UInt64
  var manifestOffset: UInt64
  var manifestBytes: UInt64
  var directoryOffset: UInt64
  var sectionCount: UInt32
  var manifestChecksum: UInt32
  var directoryChecksum: UInt32

  func write(to bytes: UnsafeMutableRawPointer) {
    bytes.copyMemory(from: BundleFormat.magic, byteCount: 8)
    bytes.storeBytes(of: BundleFormat.version.littleEndian, toByteOffset: 8, as: UInt32.self)
    bytes.storeBytes(of: UInt32(BundleFormat.headerBytes).littleEndian, toByteOffset: 12, as: UInt32.self)
    bytes.storeBytes(of: fileBytes.littleEndian, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: manifestOffset.littleEndian, toByteOffset: 24, as: UInt64.self)
    bytes.storeBytes(of: manifestBytes.littleEndian, toByteOffset: 32, as: UInt64.self)
    bytes.storeBytes(of: directoryOffset.littleEndian, toByteOffset: 40, as: UInt64.self)
    bytes.storeBytes(of: sectionCount.littleEndian, toByteOffset: 48, as: UInt32.self)
    bytes.storeBytes(of: manifestChecksum.littleEndian, toByteOffset: 52, as: UInt32.self)
    bytes.storeBytes(of: directoryChecksum.littleEndian, toByteOffset: 56, as: UInt32.self)
    let checksum = BundleFormat.checksum(UnsafeRawBufferPointer(start: bytes, count: 60))
    bytes.storeBytes(of: checksum.littleEndian, toByteOffset: 60, as: UInt32.self)
  }

  /// `bytes`: what the file has of its first 64.
  init(_ bytes: UnsafeRawBufferPointer) throws(BundleError) {
    let place = "header"
    guard bytes.count >= 8, bytes[..<8].elementsEqual(BundleFormat.magic) else {
      throw BundleError(place: place, reason: "this is not a bundle: it does not begin as one (other tools' models become bundles by `millrace model import`)")
    }
    guard bytes.count >= BundleFormat.headerBytes else {
      throw BundleError(place: place, reason: "the file ends after \(bytes.count) bytes, within the header")
    }
    func word32(_ offset: Int) -> UInt32 { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
    func word64(_ offset: Int) -> UInt64 { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    let version = word32(8)
    // A newer header may be checked in another way, so its version is read before anything is checked.
    guard version <= BundleFormat.version else {
      throw BundleError(
        place: place, reason: "the bundle has format version \(version), this build reads up to \(BundleFormat.version): update millrace, or make the bundle with this build")
    }
    let checksum = BundleFormat.checksum(UnsafeRawBufferPointer(rebasing: bytes[..<60]))
    guard word32(60) == checksum else { throw BundleError(place: place, reason: "the checksum does not hold: the file is damaged") }
    guard version == BundleFormat.version, word32(12) == UInt32(BundleFormat.headerBytes) else {
      throw BundleError(place: place, reason: "format version \(version) with a header of \(word32(12)) bytes is none that ever was")
    }
    fileBytes = word64(16)
    manifestOffset = word64(24)
    manifestBytes = word64(32)
    directoryOffset = word64(40)
    sectionCount = word32(48)
    manifestChecksum = word32(52)
    directoryChecksum = word32(56)
  }

  init(
    fileBytes: Int, manifestOffset: Int, manifestBytes: Int, directoryOffset: Int, sectionCount: Int, manifestChecksum: UInt32,
    directoryChecksum: UInt32
  ) {
    self.fileBytes = UInt64(fileBytes)
    self.manifestOffset = UInt64(manifestOffset)
    self.manifestBytes = UInt64(manifestBytes)
    self.directoryOffset = UInt64(directoryOffset)
    self.sectionCount = UInt32(sectionCount)
    self.manifestChecksum = manifestChecksum
    self.directoryChecksum = directoryChecksum
  }
}
