extension Broker {
  /// ApiVersions v0...3: what is spoken here. A version that is not known is answered in version 0's form, which every client
  /// can read (KIP-511).
  func apiVersions(_ error: ErrorCode, _ reply: ReplyContext, _ connection: ConnectionHandler) {
    let offered = APIKey.allCases.filter(\.isAdvertised)
    connection.reply(reply) { writer in
      writer.error(error)
      writer.array(offered) { writer, key in
        writer.int16(key.rawValue)
        writer.int16(key.versions.range.lowerBound)
        writer.int16(key.versions.range.upperBound)
        writer.tags()
      }
      if reply.version >= 1 { writer.int32(0) }
      writer.tags()
    }
  }

  /// A known request in a version that is not spoken. Only ApiVersions has a form for the error that does not depend on the
  /// version.
  func unsupportedVersion(_ key: APIKey, _ prefix: RequestPrefix, _ connection: ConnectionHandler) {
    if key == .apiVersions {
      return apiVersions(
        .unsupportedVersion, ReplyContext(key: key, version: 0, correlationID: prefix.correlationID, flexible: false), connection)
    }
    connection.close(
      "\(key) version \(prefix.version) is not spoken: \(key.versions.range.lowerBound) to \(key.versions.range.upperBound) are")
  }

  /// SaslHandshake: there is no mechanism to agree on.
  func saslHandshake(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    _ = try reader.string("mechanism")
    request.reply { writer in
      writer.error(.unsupportedSASLMechanism)
      writer.array([String]()) { $0.string($1) }
    }
  }
}
