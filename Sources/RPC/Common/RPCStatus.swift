/// A gRPC status code. Source: the gRPC core documentation, "Status codes and their use in gRPC".
public enum RPCCode: UInt8, Sendable, CaseIterable {
  case ok = 0, cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied, resourceExhausted
  case failedPrecondition, aborted, outOfRange, unimplemented, `internal`, unavailable, dataLoss, unauthenticated
}

/// How a call ended: a code and, when it is not OK, a message for people. Source: the same document.
public struct RPCStatus: Sendable, Equatable, Error {
  public var code: RPCCode
  public var message: String
  /// The bytes of `grpc-status-details-bin` (a google.rpc.Status), empty for none.
  public var details: [UInt8]

  public init(_ code: RPCCode, _ message: String = "", details: [UInt8] = []) {
    self.code = code
    self.message = message
    self.details = details
  }

  public static let ok = RPCStatus(.ok)
}
