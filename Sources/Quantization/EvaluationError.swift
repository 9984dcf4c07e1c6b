/// What is wrong with data or a wish, and where: "rows.csv:17", "column \"age\"".
public struct EvaluationError: Error, Sendable, Equatable, CustomStringConvertible {
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
