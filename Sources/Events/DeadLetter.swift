/// What the dead-letter topic says about a record that could not be used: the value there is the original, byte for byte; the rest
/// travels in headers.
public struct DeadLetter: Sendable, Equatable {
  public var reason: String
  public var field: String
  public var message: String
  public var sourceTopic: String
  public var sourcePartition: Int32
  public var sourceOffset: Int64
  /// The original's content type; nil when it had none.
  public var contentType: String?

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

  /// The headers of the dead letter's record.
  public var headers: [(name: String, value: String)] {
    var all = [
      ("millrace-reason", reason), ("millrace-field", field), ("millrace-message", message),
      ("millrace-source-topic", sourceTopic), ("millrace-source-partition", String(sourcePartition)),
      ("millrace-source-offset", String(sourceOffset)),
    ]
    if let contentType { all.append(("content-type", contentType)) }
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
  }
}
