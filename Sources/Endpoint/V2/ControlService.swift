public import Operations
internal import RPC
internal import Model

/// The V2 protocol beside inference: what the server and its models are, how they do, and what may be changed. The gRPC methods and the
/// REST paths both answer from it. Sans-IO, any thread; every call looks at the catalog as it is then.
public final class ControlService: Sendable {
  public static let serverName = "millrace"

  public let catalog: ModelCatalog
  public let limits: InferenceLimits
  private let version: String
  private let isReady: @Sendable () -> Bool
  private let levels: LogLevelSwitch
  /// Where models come from bundles.
  public let loadedModels: LoadedModels?

  /// `version`: the program's. `isReady`: whether the server as a whole can do its work. `levels`: the log level that LogSettings moves.
  public init(
    catalog: ModelCatalog, limits: InferenceLimits = InferenceLimits(), version: String, isReady: @escaping @Sendable () -> Bool,
    levels: LogLevelSwitch = .process, loadedModels: LoadedModels? = nil
  ) {
    self.loadedModels = loadedModels
    self.catalog = catalog
    self.limits = limits
    self.version = version
    self.isReady = isReady
    self.levels = levels
  }

  // MARK: The server

  public var isServerReady: Bool { isReady() }

  /// inference.ServerMetadataResponse. Extensions that change the server are named where they are served.
  func serverMetadata(allowsChanges: Bool) -> ControlMessage {
    var extensions = ["binary_tensor_data", "parameters", "model_configuration", "model_repository", "statistics"]
    if allowsChanges { extensions += ["trace", "logging"] }
    return ControlMessage([(1, "name", .text(Self.serverName)), (2, "version", .text(version)), (3, "extensions", .texts(extensions))])
  }

  // MARK: A model

  /// Whether the model answers requests now; false, too, when there is none of that name.
  func isModelReady(name: String, version: String) -> Bool {
    guard let model = try? catalog.find(name: name, version: version) else { return false }
    return model.isReady
  }

  /// inference.ModelMetadataResponse, with the versions of the name that are served.
  func modelMetadata(name: String, version: String) throws(RPCStatus) -> ControlMessage {
    let snapshot = catalog.snapshot()
    let metadata = try snapshot.find(name: name, version: version).metadata
    let versions = snapshot.models.filter { $0.name == name }.map(\.specification.version).sorted().map(String.init)
    return ControlMessage([
      (1, "name", .text(metadata.name)),
      (2, "versions", .texts(versions)),
      (3, "platform", .text(metadata.platform)),
      (4, "inputs", .messages(metadata.inputs.map(Self.tensor))),
      (5, "outputs", .messages(metadata.outputs.map(Self.tensor))),
      (6, "properties", .map(metadata.properties.sorted { $0.key < $1.key }.map { ($0.key, .text($0.value)) })),
    ])
  }

  private static func tensor(_ tensor: TensorMetadata) -> ControlMessage {
    ControlMessage([(1, "name", .text(tensor.name)), (2, "datatype", .text(tensor.datatype)), (3, "shape", .integers(tensor.shape))])
  }

  /// inference.ModelConfig.
  func modelConfiguration(name: String, version: String) throws(RPCStatus) -> ControlMessage {
    let snapshot = catalog.snapshot()
    let model = try snapshot.find(name: name, version: version)
    let versions = snapshot.models.filter { $0.name == name }.map(\.specification.version).sorted().map(String.init)
    return ControlMessage(
      configurationOf: model, limits: limits, versions: versions, labels: snapshot.labels[name] ?? [:])
  }

  /// inference.ModelStatisticsResponse: of one model, of all versions of a name, or of all models when `name` is empty.
  func statistics(name: String, version: String) throws(RPCStatus) -> ControlMessage {
    let snapshot = catalog.snapshot()
    var models = snapshot.models
    if name.isEmpty {
      guard version.isEmpty else { throw RPCStatus(.invalidArgument, "version: given without a name") }
    } else {
      // Says what there is when the name or version is none.
      let found = try snapshot.find(name: name, version: version)
      models = version.isEmpty ? models.filter { $0.name == name } : [found]
    }
    return ControlMessage([(1, "model_stats", .messages(models.map(ControlMessage.init(statisticsOf:))))])
  }

  // MARK: The repository: the models of the configuration

  /// The entries of inference.RepositoryIndexResponse.
  func repositoryIndex(repository: String, readyOnly: Bool) throws(RPCStatus) -> [ControlMessage] {
    try checkRepository(repository)
    let entries = catalog.index.filter { !readyOnly || $0.state == "READY" }.map { entry in
      Self.indexLine(entry.model.name, entry.model.version, entry.state, entry.reason)
    }
    guard !readyOnly, let loadedModels else { return entries }
    return entries + loadedModels.absent.map { Self.indexLine($0.name, $0.version, "UNAVAILABLE", $0.reason) }
  }

  private static func indexLine(_ name: String, _ version: String, _ state: String, _ reason: String) -> ControlMessage {
    ControlMessage([(1, "name", .text(name)), (2, "version", .text(version)), (3, "state", .text(state)), (4, "reason", .text(reason))])
  }

  /// Whether the model comes from a bundle, so that loading and unloading it takes time.
  func isLoadedModel(_ model: String) -> Bool { loadedModels?.knows(model) ?? false }

  /// Loads a model's bundles now, or takes the model off; returns when that is done.
  func changeLoaded(model: String, unloads: Bool, parameters: [String]) async throws(RPCStatus) {
    try checkParameters(parameters, known: unloads ? ["unload_dependents"] : [])
    guard let loadedModels else { return }
    if let problem = await loadedModels.change(model, unloads: unloads) { throw RPCStatus(.failedPrecondition, problem) }
  }

  /// Serves a model of the configuration again. `parameters`: their names.
  func load(repository: String, model: String, parameters: [String]) throws(RPCStatus) {
    try change(repository: repository, model: model, served: true, parameters: parameters, known: [])
  }

  /// Stops serving a model. Its replicas go on following their log, so that a load makes it answer at once.
  func unload(repository: String, model: String, parameters: [String]) throws(RPCStatus) {
    // Models have no dependents, so it does not matter whether they are to be unloaded.
    try change(repository: repository, model: model, served: false, parameters: parameters, known: ["unload_dependents"])
  }

  private func change(repository: String, model: String, served: Bool, parameters: [String], known: [String]) throws(RPCStatus) {
    try checkRepository(repository)
    try checkParameters(parameters, known: known)
    guard !model.isEmpty else { throw RPCStatus(.invalidArgument, "model_name: is empty") }
    try catalog.setServed(model, served)
  }

  private func checkParameters(_ parameters: [String], known: [String]) throws(RPCStatus) {
    for name in parameters where !known.contains(name) {
      let reason = name.hasPrefix("file:")
        ? "settings that name files are refused; models come from the server's configuration file"
        : name == "config"
          ? "a model cannot be given another configuration while the server runs; change the server's configuration file"
          : "no such parameter"
      throw RPCStatus(.invalidArgument, "parameters[\"\(clipped(name))\"]: \(reason)")
    }
  }

  private func checkRepository(_ repository: String) throws(RPCStatus) {
    guard repository.isEmpty else {
      throw RPCStatus(.notFound, "repository_name: there is no repository \"\(clipped(repository))\"; leave it empty for the configured models")
    }
  }

  // MARK: Logging and tracing

  var logSettings: LogSettings { LogSettings(levels: levels) }

  /// Answers with the settings of the model as they stand after.
  func applyTraceSettings(_ settings: [(name: String, values: [String])], model: String) throws(RPCStatus) {
    if !model.isEmpty { _ = try catalog.find(name: model) }
    try TraceSettings.apply(settings)
  }
}
