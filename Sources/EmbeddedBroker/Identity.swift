/// The cluster id, made once and kept in the data directory.
enum Identity {
  private static let magic: UInt32 = 0x4D52_4944

  static func clusterID(_ directory: String) throws -> String {
    let path = directory + "/cluster"
    if let payload = ChecksummedFile.read(path, magic: magic) {
      return try payload.withUnsafeBytes { bytes in
        var reader = WireReader(bytes)
        return try reader.string("cluster_id")
      }
    }
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    let id = String((0..<22).map { _ in letters[Int.random(in: 0..<letters.count)] })
    try ChecksummedFile.write(path, magic: magic) { $0.string(id) }
    return id
  }
}
