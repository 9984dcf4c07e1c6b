/// What a reply needs to know of its request.
struct ReplyContext {
  var key = APIKey.apiVersions
  var version: Int16 = 0
  var correlationID: Int32 = 0
  var flexible = false
}
