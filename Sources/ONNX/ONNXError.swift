internal import Families

/// What of an ONNX graph cannot be read or run, with its node.
public struct ONNXError: Error, Sendable, Equatable, CustomStringConvertible {
  public var place: String
  public var reason: String

  public init(place: String, reason: String) {
    self.place = place
    self.reason = reason
  }

  public var description: String { "\(place): \(reason)" }
}
