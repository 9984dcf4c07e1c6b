/// What precedes every request's body.
struct RequestHeader {
  let key: APIKey
  let version: Int16
  let correlationID: Int32
  let clientID: String?
}

/// The first eight bytes of any request, readable whatever the request is.
struct RequestPrefix {
  let rawKey: Int16
  let version: Int16
  let correlationID: Int32

  init(_ reader: inout WireReader) throws(WireError) {
    rawKey = try reader.int16("request_api_key")
    version = try reader.int16("request_api_version")
    correlationID = try reader.int32("correlation_id")
  }
}
