/// What keeps a checkpoint from being written or read.
public enum CheckpointError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The disk (or the quota) is full. Older generations are whole.
  case noSpace(path: String)
  /// The operating system refused.
  case io(path: String, operation: String, errno: Int32)
  /// A file of the generation is not there: it was never finished, or somebody took it away.
  case missing(path: String)
  /// The file ends in the middle.
  case torn(path: String, atByte: Int)
  /// Bytes are not what was written.
  case corrupt(path: String, atByte: Int, String)
  /// Whole, but of another model, specification or number of shards.
  case wrongModel(path: String, String)
  /// Written by a version that this build does not read.
  case unknownFormat(path: String, version: UInt32)
  case outOfMemory
  /// A second one was begun before the first was finished.
  case busy

  /// For metrics: stable.
  public var reason: String {
    switch self {
    case .noSpace: "no_space"
    case .io: "io"
    case .missing: "missing"
    case .torn: "torn"
    case .corrupt: "corrupt"
    case .wrongModel: "wrong_model"
    case .unknownFormat: "unknown_format"
    case .outOfMemory: "out_of_memory"
    case .busy: "busy"
    }
  }

  public var description: String {
    switch self {
    case .noSpace(let path): "checkpoint: no space left writing \(path); older generations are untouched. Free space, or move the checkpoint directory"
    case .io(let path, let operation, let code): "checkpoint: \(operation) \(path): \(systemMessage(code))"
    case .missing(let path): "checkpoint: \(path) is not there: the generation was never finished, or a file was removed"
    case .torn(let path, let at): "checkpoint: \(path) ends in the middle, at byte \(at)"
    case .corrupt(let path, let at, let what): "checkpoint: \(path) is damaged at byte \(at): \(what)"
    case .wrongModel(let path, let what): "checkpoint: \(path) belongs to another model: \(what)"
    case .unknownFormat(let path, let version): "checkpoint: \(path) has format \(version), this build reads \(ShardCheckpoint.formatVersion)"
    case .outOfMemory: "checkpoint: out of memory"
    case .busy: "checkpoint: one is being written already"
    }
  }
}
