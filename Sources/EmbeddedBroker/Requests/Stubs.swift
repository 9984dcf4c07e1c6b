extension Broker {
  private func later(_ request: Request) { request.connection.close("not yet") }
  func offsetCommit(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func offsetFetch(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func joinGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func heartbeat(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func leaveGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func syncGroup(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func describeGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func listGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func deleteGroups(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func describeConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func alterConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
  func incrementalAlterConfigs(_ reader: inout WireReader, _ request: Request) throws(WireError) { later(request) }
}
