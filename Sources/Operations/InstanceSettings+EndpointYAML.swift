internal import Foundation
internal import Settings

extension InstanceSettingsReading {
  mutating func grpc(_ node: SettingsNode) -> InstanceSettings.GRPCSettings {
    var grpc = InstanceSettings.GRPCSettings()
    check(node, "grpc")
    grpc.listen = listener(node, grpc.listen)
    grpc.loops = reader.int(node, "loops", in: 0...256, default: grpc.loops)
    grpc.messageBytesMax = reader.bytes(node, "message_bytes_max", in: 1024 ... 1 << 30, default: grpc.messageBytesMax)
    grpc.headerBytesMax = reader.bytes(node, "header_bytes_max", in: 1024 ... 1 << 20, default: grpc.headerBytesMax)
    grpc.streamsMax = reader.int(node, "streams_max", in: 1...65_536, default: grpc.streamsMax)
    grpc.connectionsMax = reader.int(node, "connections_max", in: 1...1_000_000, default: grpc.connectionsMax)
    // RFC 9113: windows begin at 65,535 bytes, and 2^31 - 1 is the most.
    grpc.connectionWindowBytes = reader.bytes(
      node, "connection_window", in: 65_535...0x7FFF_FFFF, default: grpc.connectionWindowBytes)
    grpc.streamWindowBytes = reader.bytes(node, "stream_window", in: 65_535...0x7FFF_FFFF, default: grpc.streamWindowBytes)
    grpc.idleMilliseconds = durationOrNever(node, "idle", in: 1000...86_400_000, default: grpc.idleMilliseconds)
    grpc.ageMilliseconds = durationOrNever(node, "age", in: 1000...2_592_000_000, default: grpc.ageMilliseconds)
    grpc.ageGraceMilliseconds = reader.milliseconds(node, "age_grace", in: 0...3_600_000, default: grpc.ageGraceMilliseconds)
    grpc.handshakeMilliseconds = reader.milliseconds(node, "handshake", in: 100...600_000, default: grpc.handshakeMilliseconds)
    grpc.pingIntervalMilliseconds = durationOrNever(
      node, "ping_interval", in: 1000...86_400_000, default: grpc.pingIntervalMilliseconds)
    grpc.pingTimeoutMilliseconds = reader.milliseconds(node, "ping_timeout", in: 100...600_000, default: grpc.pingTimeoutMilliseconds)
    grpc.stallMilliseconds = durationOrNever(node, "stall", in: 1000...86_400_000, default: grpc.stallMilliseconds)
    grpc.pingsPerSecondMax = reader.int(node, "pings_per_second_max", in: 1...100_000, default: grpc.pingsPerSecondMax)
    grpc.resetsPerSecondMax = reader.int(node, "resets_per_second_max", in: 1...1_000_000, default: grpc.resetsPerSecondMax)
    grpc.rowsPerBatchMax = reader.int(node, "rows_per_batch_max", in: 1...65_536, default: grpc.rowsPerBatchMax)
    grpc.drainMilliseconds = reader.milliseconds(node, "drain", in: 0...3_600_000, default: grpc.drainMilliseconds)
    grpc.tls = tls(node)
    return grpc
  }

  mutating func http(_ node: SettingsNode) -> InstanceSettings.HTTPSettings {
    var http = InstanceSettings.HTTPSettings()
    check(node, "http")
    http.listen = listener(node, http.listen)
    http.bodyBytesMax = reader.bytes(node, "body_bytes_max", in: 1024 ... 1 << 30, default: http.bodyBytesMax)
    return http
  }

  mutating func control(_ node: SettingsNode) -> InstanceSettings.ControlSettings {
    var control = InstanceSettings.ControlSettings()
    check(node, "control")
    control.listen = listener(node, control.listen)
    return control
  }

  mutating func ingest(_ node: SettingsNode) -> InstanceSettings.IngestSettings {
    check(node, "ingest")
    return InstanceSettings.IngestSettings(isEnabled: reader.bool(node, "enabled", default: true))
  }

  /// Two listeners cannot have one address. A port of 0 is a different one each time.
  mutating func checkListeners(_ root: SettingsNode, _ settings: InstanceSettings) {
    var taken: [(key: String, address: ListenAddress)] = []
    if settings.roles.contains(.broker), settings.kafka.embedded.listen.port > 0 {
      taken.append(("kafka.embedded", settings.kafka.embedded.listen))
    }
    let listeners = [
      ("admin", settings.admin.listen), ("http", settings.http.listen), ("grpc", settings.grpc.listen),
      ("control", settings.control.listen),
    ]
    for (key, address) in listeners {
      guard let address, address.port > 0 else { continue }
      if let other = taken.first(where: { $0.address == address }) {
        // Said where somebody wrote it: the other one may be a default.
        let given = root.child(key)?.child("listen")
        let place = given ?? listen(root, other.key) ?? root
        reader.problem(
          place, "is \(address), and so is \(given == nil ? key : other.key).listen: give one of them another port")
      }
      taken.append((key, address))
    }
  }

  private func listen(_ root: SettingsNode, _ key: String) -> SettingsNode? {
    key.split(separator: ".").reduce(root as SettingsNode?) { $0?.child(String($1)) }?.child("listen")
  }

  // MARK: Values

  private mutating func listener(_ node: SettingsNode, _ value: ListenAddress?) -> ListenAddress? {
    let listen = address(node, "listen") ?? value
    return reader.bool(node, "enabled", default: true) ? listen : nil
  }

  private mutating func durationOrNever(
    _ node: SettingsNode, _ key: String, in range: ClosedRange<Int>, default value: Int?
  ) -> Int? {
    guard let child = node.child(key) else { return value }
    if case .scalar("never", _) = child.content { return nil }
    return reader.milliseconds(child, in: range) ?? value
  }

  private mutating func tls(_ node: SettingsNode) -> InstanceSettings.TLSSettings? {
    guard node.child("tls") != nil, let tls = reader.map(node, "tls") else { return nil }
    check(tls, "grpc.tls")
    let certificate = reader.require(tls, "certificate", "a file with the certificate in PEM form").flatMap { file($0) }
    let key = reader.require(tls, "key", "a file with the certificate's private key in PEM form").flatMap { file($0) }
    let authority = tls.child("client_ca").flatMap { file($0) }
    guard let certificate, let key else { return nil }
    return InstanceSettings.TLSSettings(certificatePath: certificate, keyPath: key, clientCertificateAuthorityPath: authority)
  }

  /// The path of a file that can be read, relative to the configuration.
  private mutating func file(_ node: SettingsNode) -> String? {
    guard let name = reader.string(node) else { return nil }
    let path = beside(node, name)
    if FileManager.default.isReadableFile(atPath: path) { return path }
    let exists = FileManager.default.fileExists(atPath: path)
    reader.problem(
      node, exists ? "\(path) cannot be read by this user: see its permissions" : "there is no file \(path) (paths are relative to this file)")
    return nil
  }
}
