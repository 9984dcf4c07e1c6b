public import RPC

/// What went wrong with a prediction.
public struct PredictionError: Error, Sendable {
  public var status: RPCStatus

  public init(status: RPCStatus) { self.status = status }
}
