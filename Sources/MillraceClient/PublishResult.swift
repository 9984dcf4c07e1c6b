internal import RPC

/// What became of records that were published together.
public struct PublishResult: Sendable, Equatable {
  /// Where a record stands in the log.
  public struct Place: Sendable, Equatable {
    public var partition: Int32
    /// -1: Kafka has the record and did not say where.
    public var offset: Int64
  }

  /// Why a record was not written.
  public struct Refusal: Sendable, Equatable, CustomStringConvertible {
    /// Among the records, from 0.
    public var index: Int
    /// A stable code, as in dead letters; `not_delivered`.
    public var reason: String
    /// The field or feature it is about; empty when it is about the whole record.
    public var field: String
    /// One sentence for people.
    public var message: String
    /// False: the record is wrong. True: Kafka did not confirm it; publish it again.
    public var isRetryable: Bool

    public var description: String { field.isEmpty ? "\(reason): \(message)" : "\(reason) in \(field): \(message)" }
  }

  /// For each record; nil where it was not written.
  public var places: [Place?] = []
  public var refusals: [Refusal] = []
}

extension PublishResult {
  /// Reads a `millrace.PublishAck`. Throws when it is none.
  static func read(_ ack: [UInt8]) throws(RPCStatus) -> (sequence: UInt64, result: PublishResult) {
    var reader = ProtobufReader(ack, of: "PublishAck")
    var sequence: UInt64 = 0
    var partitions: [UInt64] = []
    var offsets: [UInt64] = []
    var result = PublishResult()
    while let (number, value) = try reader.next() {
      switch number {
      case 1: sequence = try reader.number(value, "sequence")
      case 2: partitions += try reader.numbers(value, "partitions")
      case 3: offsets += try reader.numbers(value, "offsets")
      case 4: result.refusals.append(try refusal(try reader.bytes(value, "refusals")))
      default: break
      }
    }
    guard partitions.count == offsets.count else { throw reader.broken("partitions and offsets are not as many") }
    for (partition, offset) in zip(partitions, offsets) {
      let partition = Int32(truncatingIfNeeded: signed(partition))
      result.places.append(partition < 0 ? nil : Place(partition: partition, offset: signed(offset)))
    }
    return (sequence, result)
  }

  private static func refusal(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> Refusal {
    var refusal = Refusal(index: 0, reason: "", field: "", message: "", isRetryable: false)
    var reader = ProtobufReader(bytes, of: "Refusal")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: refusal.index = Int(truncatingIfNeeded: try reader.number(value, "index"))
      case 2:
        var problem = ProtobufReader(try reader.bytes(value, "problem"), of: "Problem")
        while let (number, value) = try problem.next() {
          switch number {
          case 1: refusal.reason = try problem.text(value, "reason")
          case 2: refusal.field = try problem.text(value, "field")
          case 3: refusal.message = try problem.text(value, "message")
          default: break
          }
        }
      case 3: refusal.isRetryable = try reader.number(value, "retryable") != 0
      default: break
      }
    }
    return refusal
  }

  private static func signed(_ zigzag: UInt64) -> Int64 { Int64(bitPattern: zigzag >> 1) ^ -Int64(bitPattern: zigzag & 1) }
}
