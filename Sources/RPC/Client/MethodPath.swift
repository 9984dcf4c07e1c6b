/// A method as it stands in a request's `:path`: "/package.Service/Method".
public struct MethodPath: Sendable, Hashable, CustomStringConvertible {
  public let path: String

  /// `service` with its package: "inference.GRPCInferenceService".
  public init(service: String, method: String) { path = "/\(service)/\(method)" }

  public var description: String { path }
}
