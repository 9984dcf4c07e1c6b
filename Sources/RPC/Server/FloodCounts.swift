// Hot: every frame that comes in passes here.

/// Kinds of frames that cost us more than their sender, as far as nothing explains them.
enum FloodKind: Int, CaseIterable {
  case reset, ping, settings, windowUpdate, emptyData, other
}

/// Why a connection was cut off.
enum CutReason: Int, CaseIterable {
  case resets, pings, settings, windowUpdates, emptyData, otherFrames, http1, protocolError, age, idle, silence, stall, handshake

  init(_ kind: FloodKind) {
    switch kind {
    case .reset: self = .resets
    case .ping: self = .pings
    case .settings: self = .settings
    case .windowUpdate: self = .windowUpdates
    case .emptyData: self = .emptyData
    case .other: self = .otherFrames
    }
  }

  /// As the metric and the log call it.
  var name: String {
    switch self {
    case .resets: "resets"
    case .pings: "pings"
    case .settings: "settings"
    case .windowUpdates: "window-updates"
    case .emptyData: "empty-data"
    case .otherFrames: "other-frames"
    case .http1: "http1"
    case .protocolError: "protocol-error"
    case .age: "age"
    case .idle: "idle"
    case .silence: "silence"
    case .stall: "stall"
    case .handshake: "handshake"
    }
  }
}

/// What one connection has sent of each kind and not yet been forgiven: counts that go up with each frame, and down with time and with
/// what explains such frames.
struct FloodCounts {
  private var counts: [6 of Int32] = .init(repeating: 0)

  /// True when that is one too many.
  @inline(__always)
  mutating func count(_ kind: FloodKind, _ limits: FloodLimits) -> Bool {
    counts[kind.rawValue] &+= 1
    return Int(counts[kind.rawValue]) > Self.allowance(kind, limits).burst
  }

  @inline(__always)
  mutating func credit(_ kind: FloodKind, _ amount: Int32) {
    counts[kind.rawValue] = max(0, counts[kind.rawValue] &- amount)
  }

  /// A frame of data went out: clients ask for more window, and measure the way by pings, because of it.
  @inline(__always)
  mutating func creditSentData() {
    credit(.ping, 8)
    credit(.windowUpdate, 8)
  }

  mutating func forgive(elapsedNanoseconds: Int64, _ limits: FloodLimits) {
    let milliseconds = min(elapsedNanoseconds / 1_000_000, 3_600_000)
    for kind in FloodKind.allCases {
      credit(kind, Int32(clamping: Int64(Self.allowance(kind, limits).perSecond) * milliseconds / 1000))
    }
  }

  @inline(__always)
  private static func allowance(_ kind: FloodKind, _ limits: FloodLimits) -> FloodLimits.Allowance {
    switch kind {
    case .reset: limits.resets
    case .ping: limits.pings
    case .settings: limits.settings
    case .windowUpdate: limits.windowUpdates
    case .emptyData: limits.emptyData
    case .other: limits.others
    }
  }
}
