/// A host and port to listen at: `127.0.0.1:8002`, `[::1]:8002`, `localhost:0`. Port 0 lets the system
/// choose.
public struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
  public var host: String
  public var port: Int

  public init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Nil when `text` is not a host and a port from 0 to 65535. An IPv6 address stands in brackets.
  public init?(_ text: String) {
    let host: Substring
    let port: Substring
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { return nil }
      let rest = text[text.index(after: end)...]
      guard rest.hasPrefix(":") else { return nil }
      host = text[text.index(after: text.startIndex)..<end]
      port = rest.dropFirst()
      guard host.contains(":") else { return nil }
    } else {
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2 else { return nil }
      host = parts[0]
      port = parts[1]
    }
    let isHost = !host.isEmpty && host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }
    guard isHost, !port.isEmpty, port.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(port),
      number <= 65535
    else { return nil }
    self.host = String(host)
    self.port = number
  }

  /// Whether only this machine can connect.
  public var isLoopback: Bool {
    host == "localhost" || host == "::1" || host.hasPrefix("127.")
  }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
