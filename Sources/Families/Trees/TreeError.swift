/// Why a forest cannot be served: the tree and node, and what is wrong there.
public struct TreeError: Error, Sendable, Equatable, CustomStringConvertible {
  /// "tree 3, node 17"; "forest".
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
