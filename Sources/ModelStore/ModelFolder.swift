internal import Glibc

/// The files of a model source as they are at one moment.
struct ModelFolder {
  static let suffix = ".millrace"
  /// More files are not looked at.
  static let filesMax = 4096

  /// What tells one content of a file from another without reading it: bundles are replaced by renaming.
  struct Identity: Equatable {
    var device: UInt64
    var inode: UInt64
    var byteCount: Int64
    var modifiedSeconds: Int64
    var modifiedNanoseconds: Int64
  }

  struct File {
    /// The number in the name; 0 for a source that is one file, whose version is in its manifest.
    var version: Int
    var path: String
    var identity: Identity
  }

  /// By version, ascending.
  var files: [File] = []
  /// Why there are none, for people; empty when there are some.
  var problem = ""

  init(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      problem = "\(path): \(String(cString: strerror(errno)))"
      return
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      files = [File(version: 0, path: path, identity: Identity(status))]
      return
    }
    guard let folder = opendir(path) else {
      problem = "\(path): \(String(cString: strerror(errno)))"
      return
    }
    defer { closedir(folder) }
    while let entry = readdir(folder), files.count < Self.filesMax {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      guard name.hasSuffix(Self.suffix), let version = Int(name.dropLast(Self.suffix.count)), (1...Int(Int32.max)).contains(version) else { continue }
      let file = "\(path)/\(name)"
      guard stat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      // "01" and "1" are one version: the first one found counts.
      guard !files.contains(where: { $0.version == version }) else { continue }
      files.append(File(version: version, path: file, identity: Identity(status)))
    }
    files.sort { $0.version < $1.version }
    if files.isEmpty { problem = "\(path): no file named by a version, as 1\(Self.suffix)" }
  }

  static func identity(of path: String) -> Identity? {
    var status = stat()
    return stat(path, &status) == 0 ? Identity(status) : nil
  }
}

extension ModelFolder.Identity {
  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    byteCount = Int64(status.st_size)
    modifiedSeconds = Int64(status.st_mtim.tv_sec)
    modifiedNanoseconds = Int64(status.st_mtim.tv_nsec)
  }
}
