extension RPCCode {
  /// What an HTTP status means when the answer carries no `grpc-status`. Source: gRPC, "HTTP to gRPC Status Code Mapping".
  public init(httpStatus: Int) {
    switch httpStatus {
    case 400: self = .internal
    case 401: self = .unauthenticated
    case 403: self = .permissionDenied
    case 404: self = .unimplemented
    case 429, 502, 503, 504: self = .unavailable
    default: self = .unknown
    }
  }

  /// What the error code of a RST_STREAM means. Source: gRPC over HTTP2, "Errors".
  public init(http2Error: UInt32) {
    switch http2Error {
    case 0x7: self = .unavailable  // REFUSED_STREAM
    case 0x8: self = .cancelled  // CANCEL
    case 0xb: self = .resourceExhausted  // ENHANCE_YOUR_CALM
    case 0xc: self = .permissionDenied  // INADEQUATE_SECURITY
    default: self = .internal
    }
  }

  /// The code of a number from the wire; nil for numbers that no code has.
  public init?(wire: UnsafeRawBufferPointer) {
    guard wire.count >= 1, wire.count <= 2 else { return nil }
    var value: UInt8 = 0
    for byte in wire {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      value = value * 10 + (byte - UInt8(ascii: "0"))
    }
    self.init(rawValue: value)
  }
}
