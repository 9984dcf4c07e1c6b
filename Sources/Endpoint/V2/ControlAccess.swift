internal import RPC

extension ControlService {
  /// Who may change the server through a listener.
  public enum Access: Sendable, Equatable {
    /// Everything is served.
    case control
    /// What only reads is served; the rest is PERMISSION_DENIED, with where to ask instead: the address of the control listener, nil when
    /// there is none.
    case readOnly(controlListener: String?)

    var allowsChanges: Bool { self == .control }

    /// The answer to `call`, which changes something.
    func denial(of call: String) -> RPCStatus? {
      switch self {
      case .control: nil
      case .readOnly(nil): RPCStatus(.permissionDenied, "\(call) is not served here, and this server has no control listener")
      case .readOnly(let address?): RPCStatus(.permissionDenied, "\(call) is served on the control listener, \(address)")
      }
    }
  }
}
