/// Where a channel's calls go: one server, or several that answer the same.
public struct RPCTarget: Sendable, Hashable, CustomStringConvertible {
  public struct Address: Sendable, Hashable, CustomStringConvertible {
    /// A name, an IPv4 or an IPv6 address (without brackets).
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
      self.host = host
      self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
  }

  /// Connections are spread over them; one that cannot be reached is passed over for the next. Never empty.
  public let addresses: [Address]
  /// What requests carry as `:authority`. Also the name that TLS checks, without its port, unless `TLSClientSettings` says another.
  public var authority: String

  public init(host: String, port: Int, authority: String? = nil) {
    let address = Address(host: host, port: port)
    addresses = [address]
    self.authority = authority ?? address.description
  }

  /// Several servers. Nil without an address.
  public init?(addresses: [Address], authority: String? = nil) {
    guard let first = addresses.first else { return nil }
    self.addresses = addresses
    self.authority = authority ?? first.description
  }

  /// "host:port", "[::1]:port", or several of these with commas between them. Nil for anything else.
  public init?(_ text: String) {
    var addresses: [Address] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let colon = part.lastIndex(of: ":") else { return nil }
      var host = part[..<colon]
      if host.hasPrefix("["), host.hasSuffix("]") {
        host = host.dropFirst().dropLast()
      } else if host.contains(":") {
        return nil
      }
      guard !host.isEmpty, let port = Int(part[part.index(after: colon)...]), (1...65535).contains(port) else { return nil }
      addresses.append(Address(host: String(host), port: port))
    }
    self.init(addresses: addresses)
  }

  public var description: String { addresses.map(\.description).joined(separator: ",") }
}
