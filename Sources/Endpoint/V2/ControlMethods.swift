public import RPC

extension ControlService {
  /// Every method of inference.GRPCInferenceService besides inference itself, as one listener serves them.
  public func methods(access: Access) -> [RPCMethod] {
    reading(access) + [
      changing("RepositoryModelLoad", access) { [self] request throws(RPCStatus) in
        let (repository, model, parameters) = try Self.repositoryRequest(request, "RepositoryModelLoadRequest")
        if repository.isEmpty, isLoadedModel(model) {
          try await changeLoaded(model: model, unloads: false, parameters: parameters)
        } else {
          try load(repository: repository, model: model, parameters: parameters)
        }
        return []
      },
      changing("RepositoryModelUnload", access) { [self] request throws(RPCStatus) in
        let (repository, model, parameters) = try Self.repositoryRequest(request, "RepositoryModelUnloadRequest")
        if repository.isEmpty, isLoadedModel(model) {
          try await changeLoaded(model: model, unloads: true, parameters: parameters)
        } else {
          try unload(repository: repository, model: model, parameters: parameters)
        }
        return []
      },
      changing("TraceSetting", access) { [self] request throws(RPCStatus) in
        let (settings, model) = try TraceSettings.read(request)
        try applyTraceSettings(settings, model: model)
        return TraceSettings.protobuf
      },
      changing("LogSettings", access) { [self] request throws(RPCStatus) in
        try logSettings.apply(try LogSettings.settings(of: request))
        return logSettings.protobuf
      },
    ] + Self.sharedMemory
  }

  private func reading(_ access: Access) -> [RPCMethod] {
    let metadata = serverMetadata(allowsChanges: access.allowsChanges).protobuf
    return [
      method("ServerLive") { _ throws(RPCStatus) in Self.truth(true) },
      method("ServerReady") { [self] _ throws(RPCStatus) in Self.truth(isServerReady) },
      method("ModelReady") { [self] request throws(RPCStatus) in
        let (name, version) = try Self.modelRequest(request, "ModelReadyRequest")
        return Self.truth(isModelReady(name: name, version: version))
      },
      method("ServerMetadata") { _ throws(RPCStatus) in metadata },
      method("ModelMetadata") { [self] request throws(RPCStatus) in
        let (name, version) = try Self.modelRequest(request, "ModelMetadataRequest")
        return try modelMetadata(name: name, version: version).protobuf
      },
      method("ModelConfig") { [self] request throws(RPCStatus) in
        let (name, version) = try Self.modelRequest(request, "ModelConfigRequest")
        return ControlMessage([(1, "config", .message(try modelConfiguration(name: name, version: version)))]).protobuf
      },
      method("ModelStatistics") { [self] request throws(RPCStatus) in
        let (name, version) = try Self.modelRequest(request, "ModelStatisticsRequest")
        return try statistics(name: name, version: version).protobuf
      },
      method("RepositoryIndex") { [self] request throws(RPCStatus) in
        let (repository, readyOnly) = try Self.indexRequest(request)
        let models = try repositoryIndex(repository: repository, readyOnly: readyOnly)
        return ControlMessage([(1, "models", .messages(models))]).protobuf
      },
    ]
  }

  /// Memory that client and server share by name ties them to one machine, and lets a client name the server's memory. Never.
  private static var sharedMemory: [RPCMethod] {
    ["System", "Cuda"].flatMap { kind in
      ["Status", "Register", "Unregister"].map { action in
        let name = "\(kind)SharedMemory\(action)"
        return RPCMethod.asyncUnary(name) { _, _ in
          throw RPCStatus(.unimplemented, "\(name): shared memory is not offered; send tensors in the request")
        }
      }
    }
  }

  // MARK: Parts

  private func method(_ name: String, _ body: @escaping @Sendable ([UInt8]) throws(RPCStatus) -> [UInt8]) -> RPCMethod {
    RPCMethod.asyncUnary(name) { request, _ in try body(request) }
  }

  private func changing(
    _ name: String, _ access: Access, _ body: @escaping @Sendable ([UInt8]) async throws(RPCStatus) -> [UInt8]
  ) -> RPCMethod {
    guard let denial = access.denial(of: name) else { return RPCMethod.asyncUnary(name) { request, _ in try await body(request) } }
    return RPCMethod.asyncUnary(name) { _, _ in throw denial }
  }

  /// ServerLiveResponse, ServerReadyResponse, ModelReadyResponse.
  private static func truth(_ value: Bool) -> [UInt8] { value ? [1 << 3, 1] : [] }

  /// The requests that have a name and a version.
  static func modelRequest(_ request: [UInt8], _ message: String) throws(RPCStatus) -> (name: String, version: String) {
    var name = ""
    var version = ""
    var reader = ProtobufReader(request, of: message)
    while let (number, value) = try reader.next() {
      switch number {
      case 1: name = try reader.text(value, "name")
      case 2: version = try reader.text(value, "version")
      default: break
      }
    }
    return (name, version)
  }

  static func indexRequest(_ request: [UInt8]) throws(RPCStatus) -> (repository: String, readyOnly: Bool) {
    var repository = ""
    var readyOnly = false
    var reader = ProtobufReader(request, of: "RepositoryIndexRequest")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: repository = try reader.text(value, "repository_name")
      case 2: readyOnly = try reader.number(value, "ready") != 0
      default: break
      }
    }
    return (repository, readyOnly)
  }

  /// Load and unload; of the parameters only the names matter.
  static func repositoryRequest(
    _ request: [UInt8], _ message: String
  ) throws(RPCStatus) -> (repository: String, model: String, parameters: [String]) {
    var repository = ""
    var model = ""
    var parameters: [String] = []
    var reader = ProtobufReader(request, of: message)
    while let (number, value) = try reader.next() {
      switch number {
      case 1: repository = try reader.text(value, "repository_name")
      case 2: model = try reader.text(value, "model_name")
      case 3: parameters.append(try mapEntry(try reader.bytes(value, "parameters"), of: "\(message).parameters").key)
      default: break
      }
    }
    return (repository, model, parameters)
  }
}
