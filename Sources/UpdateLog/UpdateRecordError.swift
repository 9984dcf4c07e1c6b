/// Why bytes are not a record.
public enum UpdateRecordError: Error, Equatable, Sendable, CustomStringConvertible {
  case truncated(neededBytes: Int, haveBytes: Int)
  case notARecord
  case unknownFormat(version: UInt8)
  case unknownKind(UInt8)
  case checksum(stored: UInt32, computed: UInt32)
  /// A field that contradicts the rest: its name and what is wrong.
  case field(String, String)
  case idsNotAscending(index: Int)

  /// For metrics: stable, few.
  public var reason: String {
    switch self {
    case .truncated: "truncated"
    case .notARecord: "not_a_record"
    case .unknownFormat: "unknown_format"
    case .unknownKind: "unknown_kind"
    case .checksum: "checksum"
    case .field: "field"
    case .idsNotAscending: "ids_not_ascending"
    }
  }

  public var description: String {
    switch self {
    case .truncated(let needed, let have): "update record: truncated, \(have) bytes of at least \(needed)"
    case .notARecord: "update record: does not start with the magic MRUL"
    case .unknownFormat(let version): "update record: format version \(version), this build reads 1"
    case .unknownKind(let kind): "update record: unknown kind \(kind)"
    case .checksum(let stored, let computed): "update record: CRC-32C is \(stored), the bytes give \(computed)"
    case .field(let name, let message): "update record: \(name): \(message)"
    case .idsNotAscending(let index): "update record: ids: number \(index) is not above the one before it"
    }
  }
}
