public import Events

/// Why a record was not written, as acks and dead letters say it.
public struct PublishProblem: Error, Sendable, Equatable, CustomStringConvertible {
  /// A stable code: one of `EventProblem.Reason`, or `not_delivered`.
  public var reason: String
  /// The field or feature it is about; empty when it is about the whole record.
  public var field: String
  /// One sentence for people.
  public var message: String

  public init(reason: String, field: String = "", message: String) {
    self.reason = reason
    self.field = field
    self.message = message
  }

  public init(_ problem: EventProblem) {
    self.init(reason: problem.reason.rawValue, field: problem.field, message: problem.message)
  }

  /// Kafka did not confirm the record. It may be in the log all the same.
  public static func notDelivered(_ message: String) -> PublishProblem {
    PublishProblem(reason: "not_delivered", message: message)
  }

  public var description: String { field.isEmpty ? "\(reason): \(message)" : "\(reason) in \(field): \(message)" }
}
