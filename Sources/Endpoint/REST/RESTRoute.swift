internal import Foundation

/// What a method and a path ask for. `version` is empty when the path has none.
enum RESTRoute: Equatable {
  case live, ready
  case serverMetadata
  case modelMetadata(name: String, version: String)
  case modelReady(name: String, version: String)
  case modelConfiguration(name: String, version: String)
  /// An empty name: of all models.
  case statistics(name: String, version: String)
  case infer(name: String, version: String)
  case repositoryIndex
  case load(model: String)
  case unload(model: String)
  case logSettings, changeLogSettings
  case traceSettings(model: String)
  case changeTraceSettings(model: String)
  case sharedMemory

  /// - Throws: 404 for a path that is none, 405 for a method that the path does not have, 400 for a broken escape.
  init(method: String, path: String) throws(RESTProblem) {
    var segments: [String] = []
    for segment in path.split(separator: "/", omittingEmptySubsequences: true) {
      guard let decoded = String(segment).removingPercentEncoding else { throw RESTProblem(400, "the path has a broken %-escape") }
      segments.append(decoded)
    }
    guard let methods = Self.methods(of: segments) else {
      throw RESTProblem(404, "there is no path \(clipped(path)): see /v2, /v2/models/{name}, /v2/models/{name}/infer, /v2/health/ready")
    }
    // HEAD is GET without the body.
    guard let route = methods[method == "HEAD" ? "GET" : method] else {
      let allowed = methods.keys.flatMap { $0 == "GET" ? ["GET", "HEAD"] : [$0] }.sorted()
      throw RESTProblem(405, "\(clipped(path)) takes \(allowed.joined(separator: ", ")), not \(clipped(method))", allowed: allowed)
    }
    self = route
  }

  private static func methods(of segments: [String]) -> [String: RESTRoute]? {
    guard segments.first == "v2" else { return nil }
    let rest = Array(segments.dropFirst())
    switch rest.first {
    case nil: return ["GET": .serverMetadata]
    case "health": return health(rest)
    case "models": return model(Array(rest.dropFirst()))
    case "repository": return repository(Array(rest.dropFirst()))
    case "logging": return rest.count == 1 ? ["GET": .logSettings, "POST": .changeLogSettings] : nil
    case "trace": return rest == ["trace", "setting"] ? trace("") : nil
    case "systemsharedmemory", "cudasharedmemory": return ["GET": .sharedMemory, "POST": .sharedMemory]
    default: return nil
    }
  }

  private static func health(_ rest: [String]) -> [String: RESTRoute]? {
    switch rest {
    case ["health", "live"]: ["GET": .live]
    case ["health", "ready"]: ["GET": .ready]
    default: nil
    }
  }

  private static func model(_ rest: [String]) -> [String: RESTRoute]? {
    if rest == ["stats"] { return ["GET": .statistics(name: "", version: "")] }
    guard let name = rest.first else { return nil }
    var rest = rest.dropFirst()
    var version = ""
    if rest.first == "versions" {
      guard let given = rest.dropFirst().first else { return nil }
      version = given
      rest = rest.dropFirst(2)
    }
    switch Array(rest) {
    case []: return ["GET": .modelMetadata(name: name, version: version)]
    case ["ready"]: return ["GET": .modelReady(name: name, version: version)]
    case ["config"]: return ["GET": .modelConfiguration(name: name, version: version)]
    case ["stats"]: return ["GET": .statistics(name: name, version: version)]
    case ["infer"]: return ["POST": .infer(name: name, version: version)]
    case ["trace", "setting"] where version.isEmpty: return trace(name)
    default: return nil
    }
  }

  private static func repository(_ rest: [String]) -> [String: RESTRoute]? {
    if rest == ["index"] { return ["GET": .repositoryIndex, "POST": .repositoryIndex] }
    guard rest.count == 3, rest[0] == "models" else { return nil }
    switch rest[2] {
    case "load": return ["POST": .load(model: rest[1])]
    case "unload": return ["POST": .unload(model: rest[1])]
    default: return nil
    }
  }

  private static func trace(_ model: String) -> [String: RESTRoute] {
    ["GET": .traceSettings(model: model), "POST": .changeTraceSettings(model: model)]
  }
}
