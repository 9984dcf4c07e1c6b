/// What the dead-letter topic says about a record that could not be used: the value there is the original, byte for byte, up to
/// `valueBytesMax`; the rest travels in headers.
public struct DeadLetter: Sendable, Equatable {
  public var reason: String
  public var field: String
  public var message: String
  public var sourceTopic: String
  public var sourcePartition: Int32
  public var sourceOffset: Int64
  /// The original's content type; nil when it had none.
  public var contentType: String?
  /// The original's size when the value carries only its beginning; else nil.
  public var originalBytes: Int?

  /// Bytes of the original that a dead letter carries: with its headers it stays within the megabyte that brokers and clients take
  /// by default, whatever their limits let through on the way in. The whole is at the source offset.
  public static let valueBytesMax = 900_000

  public init(_ problem: EventProblem, topic: String, partition: Int32, offset: Int64, contentType: String? = nil) {
    reason = problem.reason.rawValue
    field = problem.field
    message = problem.message
    sourceTopic = topic
    sourcePartition = partition
    sourceOffset = offset
    self.contentType = contentType
  }

  /// The topic that takes the dead letters of `topic`.
  public static func topic(of topic: String) -> String { topic + ".dead-letter" }

  /// What of the original the dead letter carries; notes its size when that is not all.
  public mutating func carry(_ original: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard original.count > Self.valueBytesMax else { return original }
    originalBytes = original.count
    return UnsafeRawBufferPointer(rebasing: original.prefix(Self.valueBytesMax))
  }

  /// The headers of the dead letter's record.
  public var headers: [(name: String, value: String)] {
    var all = [
      ("millrace-reason", reason), ("millrace-field", field), ("millrace-message", message),
      ("millrace-source-topic", sourceTopic), ("millrace-source-partition", String(sourcePartition)),
      ("millrace-source-offset", String(sourceOffset)),
    ]
    if let contentType { all.append(("content-type", contentType)) }
    if let originalBytes { all.append(("millrace-original-bytes", String(originalBytes))) }
    return all
  }

  /// Reads a dead letter's headers; nil when the ones that every dead letter has are not there.
  public init?(header: (String) -> String?) {
    guard let reason = header("millrace-reason"), let topic = header("millrace-source-topic"),
      let partition = header("millrace-source-partition").flatMap(Int32.init),
      let offset = header("millrace-source-offset").flatMap(Int64.init)
    else { return nil }
    self.reason = reason
    field = header("millrace-field") ?? ""
    message = header("millrace-message") ?? ""
    sourceTopic = topic
    sourcePartition = partition
    sourceOffset = offset
    contentType = header("content-type")
    originalBytes = header("millrace-original-bytes").flatMap { Int($0) }
  }
}
