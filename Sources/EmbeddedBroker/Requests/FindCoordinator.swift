extension Broker {
  /// FindCoordinator v0...4: this broker, for every group. Transactions have none.
  func findCoordinator(_ reader: inout WireReader, _ request: Request) throws(WireError) {
    let version = request.version
    var keys: [String] = []
    if version <= 3 { keys.append(try reader.string("key")) }
    let kind = version >= 1 ? try reader.int8("key_type") : 0
    if version >= 4 {
      for _ in 0..<(try reader.arrayCount("coordinator_keys", elementBytesMin: 1)) { keys.append(try reader.string("key")) }
    }
    try reader.tags()
    let (host, port) = advertised(to: request.connection)
    let error: ErrorCode = kind == 0 ? .none : .invalidRequest
    let message = kind == 0 ? nil : "transactions are not supported by the embedded broker"
    let node = error == .none ? (id: nodeID, host: host, port: port) : (id: -1, host: "", port: -1)
    request.reply { writer in
      if version >= 1 { writer.int32(0) }
      if version <= 3 {
        writer.error(error)
        if version >= 1 { writer.nullableString(message) }
        writer.int32(node.id)
        writer.string(node.host)
        writer.int32(node.port)
      } else {
        writer.array(keys) { writer, key in
          writer.string(key)
          writer.int32(node.id)
          writer.string(node.host)
          writer.int32(node.port)
          writer.error(error)
          writer.nullableString(message)
          writer.tags()
        }
      }
      writer.tags()
    }
  }
}
