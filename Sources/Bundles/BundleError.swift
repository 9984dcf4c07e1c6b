/// What is wrong with a bundle, and where.
public struct BundleError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file, and what in it: "section \"weights\"", "header", "manifest.outputs[0]".
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
