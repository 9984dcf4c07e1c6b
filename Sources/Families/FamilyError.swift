/// Why parts do not make a model, and which: "top.0.weight", "tables[3].rows".
public struct FamilyError: Error, Sendable, Equatable, CustomStringConvertible {
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
