public import RPC

/// What went wrong with a prediction: the server's status, or what this side found wrong with the request before it was sent
/// (INVALID_ARGUMENT, with the feature in the message).
public struct PredictionError: Error, Sendable, Equatable, CustomStringConvertible {
  public var status: RPCStatus

  public init(status: RPCStatus) { self.status = status }

  init(_ code: RPCCode, _ message: String) { status = RPCStatus(code, message) }

  public var description: String { "\(status.code.name): \(status.message)" }
}
