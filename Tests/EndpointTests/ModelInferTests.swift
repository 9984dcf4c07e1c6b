import CMessages
import Logging
import Model
import RPC
import Serving
import Telemetry
import Testing

@testable import Endpoint

/// ModelInfer and ModelStreamInfer over a real connection.
@Suite struct ModelInferTests {
  private typealias Bytes = InferRequestBytes

  private static let unary = MethodPath(service: V2Service.name, method: "ModelInfer")
  private static let stream = MethodPath(service: V2Service.name, method: "ModelStreamInfer")

  private func withServer(
    limits: InferenceLimits = InferenceLimits(), _ body: (RPCChannel, LearnedModel) async throws -> Void
  ) async throws {
    let model = try LearnedModel()
    var settings = RPCServerSettings()
    settings.loops = 1
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let service = RPCService(name: V2Service.name, methods: InferenceService.methods(catalog: model.catalog, limits: limits))
    let server = RPCServer(settings: settings, services: [service], registry: Registry(), logger: logger)
    let port = try await server.start()
    let channel = try RPCChannel(target: RPCTarget(host: "127.0.0.1", port: port), settings: RPCChannelSettings(), logger: logger)
    do {
      try await body(channel, model)
    } catch {
      await channel.close()
      await server.stop(graceMilliseconds: 0)
      throw error
    }
    await channel.close()
    await server.stop(graceMilliseconds: 1_000)
  }

  private func request(_ id: String, rows: Int = 1, city: String = "city") -> [UInt8] {
    Bytes(id: id, inputs: [Bytes.text(city, (0..<rows).map { "c\($0)" })]).bytes
  }

  @Test func manyAtOnceAreAnsweredEachWithItsOwn() async throws {
    try await withServer(limits: InferenceLimits(rowsPerRunMax: 7)) { channel, model in
      try await withThrowingTaskGroup(of: (Int, InferResponse?).self) { group in
        for index in 0..<200 {
          let bytes = request("id-\(index)", rows: 1 + index % 5)
          group.addTask { (index, InferResponse(try await channel.unary(Self.unary, bytes).message)) }
        }
        for try await (index, response) in group {
          #expect(response?.id == "id-\(index)" && response?.scores.count == 1 + index % 5)
        }
      }
      #expect(model.served.statistics.snapshot().success.count == 200)
    }
  }

  @Test func errorsHaveTheirCodeAndText() async throws {
    try await withServer { channel, _ in
      await #expect(throws: RPCStatus(.invalidArgument, "inputs[0] \"ctiy\": the model has no such input; did you mean \"city\"?")) {
        _ = try await channel.unary(Self.unary, request("a", city: "ctiy"))
      }
      await #expect(throws: RPCStatus.self) { _ = try await channel.unary(Self.unary, [0xFF]) }
      let response = try await channel.unary(Self.unary, request("b"))
      #expect(InferResponse(response.message)?.id == "b")
    }
  }

  @Test func aStreamAnswersInOrderAndOutlivesErrors() async throws {
    try await withServer(limits: InferenceLimits(rowsPerRunMax: 4)) { channel, _ in
      let stream = channel.stream(Self.stream)
      let count = 100
      for index in 0..<count { try await stream.send(request("id-\(index)", city: index % 10 == 3 ? "town" : "city")) }
      stream.finish()
      var index = 0
      for try await message in stream {
        let answer = StreamAnswer(message)
        if index % 10 == 3 {
          #expect(answer.error.contains("inputs[0] \"town\"") && answer.id == "id-\(index)")
        } else {
          #expect(answer.error.isEmpty && answer.response?.id == "id-\(index)")
        }
        index += 1
      }
      #expect(index == count)
    }
  }

  /// A client that sends and does not read: the server holds only so much for it, and answers everything once it reads.
  @Test func aStreamThatIsNotReadIsHeldBack() async throws {
    try await withServer { channel, model in
      let stream = channel.stream(Self.stream)
      let bytes = request("slow", rows: 400)
      let count = 3000
      let sending = Task {
        for _ in 0..<count { try await stream.send(bytes) }
        stream.finish()
      }
      var answered = 0
      for try await message in stream where StreamAnswer(message).response?.scores.count == 400 { answered += 1 }
      try await sending.value
      #expect(answered == count)
    }
  }
}

/// A ModelStreamInferResponse.
private struct StreamAnswer {
  var error = ""
  var id = ""
  var response: InferResponse?

  init(_ bytes: [UInt8]) {
    guard let message = inference__model_stream_infer_response__unpack(nil, bytes.count, bytes) else { return }
    defer { inference__model_stream_infer_response__free_unpacked(message, nil) }
    error = String(cString: message.pointee.error_message)
    guard let inner = message.pointee.infer_response else { return }
    id = String(cString: inner.pointee.id)
    var packed = [UInt8](repeating: 0, count: inference__model_infer_response__get_packed_size(inner))
    _ = inference__model_infer_response__pack(inner, &packed)
    response = InferResponse(packed)
  }
}
