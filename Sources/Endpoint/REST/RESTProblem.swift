internal import RPC

/// Why a REST request was not answered with what it asked for: an HTTP status, and a message for people.
struct RESTProblem: Error, Equatable {
  var status: Int
  var message: String
  /// With status 405: the methods that the path has.
  var allowed: [String] = []

  init(_ status: Int, _ message: String, allowed: [String] = []) {
    self.status = status
    self.message = message
    self.allowed = allowed
  }

  /// The status that stands for a gRPC code.
  init(_ status: RPCStatus) {
    let code =
      switch status.code {
      case .ok: 200
      case .invalidArgument, .outOfRange, .failedPrecondition: 400
      case .unauthenticated: 401
      case .permissionDenied: 403
      case .notFound: 404
      case .alreadyExists, .aborted: 409
      case .unimplemented: 501
      case .resourceExhausted, .unavailable, .cancelled: 503
      case .deadlineExceeded: 504
      case .unknown, .internal, .dataLoss: 500
      }
    self.init(code, status.message)
  }
}
