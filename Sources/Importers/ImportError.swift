/// Why a file of another tool cannot be served, and where in it.
public struct ImportError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A line, a JSON path, a node's name.
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
