import ArgumentParser
import Endpoint
import Foundation
import LoadTest
import Logging
import Model
import RPC
import Serving
import Telemetry
import UpdateLog

/// `millrace bench serve`: predictions by gRPC without Kafka and training.
struct BenchServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve a model over gRPC from a made-up table: the endpoint alone, for load generators and profilers.",
    discussion: """
      The table holds a weight for every row that the requests of --bodies ask for. Serves until it is interrupted.

      EXAMPLE
        millrace loadtest grpc --specification deploy/models/flights.yaml --write-bodies flights.bodies
        millrace bench serve --specification deploy/models/flights.yaml --bodies flights.bodies --port 9100 &
        millrace loadtest grpc --target 127.0.0.1:9100 --bodies-from flights.bodies --in-flight 32
      """)

  @Option(help: ArgumentHelp("The model (YAML).", valueName: "file")) var specification: String
  @Option(help: ArgumentHelp("Requests, as `millrace loadtest grpc --write-bodies` writes them.", valueName: "file")) var bodies: String
  @Option(help: "The port; 0 takes a free one.") var port = 0
  @Option(help: "Event loops; 0 takes as many as there are cores.") var loops = 0

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port takes 0 to 65535") }
    guard (0...1024).contains(loops) else { throw ValidationError("--loops takes 0 to 1024") }
  }

  func run() async throws {
    let model = try ModelSpecification.load(path: specification)
    let requests = try InferBodies.read(framed: [UInt8](Data(contentsOf: URL(fileURLWithPath: bodies))))
    let set = ReplicaSet(specification: model)
    set.fill(model, for: (0..<requests.count).lazy.map { requests[$0] })
    let registry = Registry()
    let catalog = ModelCatalog([
      ServedModel(specification: model, arms: [Arm(name: "online", set: set, isReady: { true })], registry: registry)
    ])
    var settings = RPCServerSettings()
    settings.port = port
    settings.loops = loops
    let service = RPCService(name: "inference.GRPCInferenceService", methods: InferenceService.methods(catalog: catalog))
    let server = RPCServer(settings: settings, services: [service], registry: registry, logger: Logger(label: "bench"))
    print("listening on 127.0.0.1:\(try await server.start())")
    try await Task.sleep(nanoseconds: .max / 4)
  }
}
