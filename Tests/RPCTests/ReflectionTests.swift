import Testing

@testable import RPC

@Suite struct ReflectionTests {
  private let answers = ReflectionAnswers(
    services: ["grpc.health.v1.Health"], index: ProtoFileIndex(descriptors: [ProtoFile.health.descriptor, ProtoFile.reflection.descriptor]))

  private enum Answer: Equatable {
    case files([[UInt8]])
    case services([String])
    case extensions(String)
    case error(UInt64, String)
  }

  /// Asks with one member of the request's oneof, and reads the answer apart from this module's writer.
  private func ask(_ number: UInt32, _ text: String) throws -> Answer {
    var request = ProtobufWriter()
    request.text(1, "host")
    request.text(number, text)
    return try ask(request.bytes)
  }

  private func ask(_ request: [UInt8]) throws -> Answer {
    var reader = ProtobufReader(try answers.response(to: request), of: "response")
    var answer: Answer?
    var original: [UInt8] = []
    while let (number, value) = try reader.next() {
      guard case .slice(let bytes) = value else { continue }
      var inner = ProtobufReader(bytes, of: "inner")
      switch number {
      case 2: original = Array(bytes)
      case 4:
        var files: [[UInt8]] = []
        while let (_, value) = try inner.next() { files.append(Array(try inner.bytes(value, "file"))) }
        answer = .files(files)
      case 5:
        if let (_, value) = try inner.next() { answer = .extensions(try inner.text(value, "type")) }
      case 6:
        var services: [String] = []
        while let (_, value) = try inner.next() {
          var service = ProtobufReader(try inner.bytes(value, "service"), of: "service")
          if let (_, name) = try service.next() { services.append(try service.text(name, "name")) }
        }
        answer = .services(services)
      case 7:
        var code: UInt64 = 0
        var message = ""
        while let (number, value) = try inner.next() {
          if number == 1 { code = try inner.number(value, "code") } else { message = try inner.text(value, "message") }
        }
        answer = .error(code, message)
      default: break
      }
    }
    #expect(original == request, "the request is sent back")
    return try #require(answer)
  }

  @Test func descriptorsWereGenerated() {
    for file in [ProtoFile.health, .reflection, .reflectionAlpha] { #expect(file.descriptor.count > 100) }
  }

  @Test func filesAreFoundByNameAndBySymbol() throws {
    let health = Answer.files([ProtoFile.health.descriptor])
    #expect(try ask(3, "grpc/health/v1/health.proto") == health)
    for symbol in [
      "grpc.health.v1.Health", "grpc.health.v1.Health.Watch", "grpc.health.v1.HealthCheckResponse", "grpc.health.v1.HealthCheckResponse.ServingStatus",
      "grpc.health.v1.HealthCheckResponse.SERVING", "grpc.health.v1.HealthCheckRequest.service",
    ] {
      #expect(try ask(4, symbol) == health, "\(symbol)")
    }
    #expect(try ask(4, "grpc.reflection.v1.ServerReflectionRequest.message_request") == .files([ProtoFile.reflection.descriptor]))
    #expect(try ask(7, "") == .services(["grpc.health.v1.Health"]))
    #expect(try ask(6, "grpc.health.v1.HealthCheckRequest") == .extensions("grpc.health.v1.HealthCheckRequest"))
  }

  @Test func whatIsNotThereIsAnErrorResponse() throws {
    for (number, text) in [(UInt32(3), "nothing.proto"), (4, "nothing.Nothing"), (4, ""), (4, "Health"), (6, "nothing.Nothing")] {
      guard case .error(5, _) = try ask(number, text) else {
        Issue.record("\(number) \(text) is NOT_FOUND")
        continue
      }
    }
    var request = ProtobufWriter()
    request.message(5) {
      $0.text(1, "grpc.health.v1.HealthCheckRequest")
      $0.varint(2, 7)
    }
    #expect(try ask(request.bytes) == .error(5, "no file here declares the extension 7 of \"grpc.health.v1.HealthCheckRequest\""))
    guard case .error(3, _) = try ask([]) else { return #expect(Bool(false), "a request that asks nothing") }
  }

  @Test func importsComeWithTheFile() {
    func file(_ name: String, imports: [String]) -> [UInt8] {
      var writer = ProtobufWriter()
      writer.text(1, name)
      for name in imports { writer.text(3, name) }
      return writer.bytes
    }
    // A circle, a file that is not there, and one that two import.
    let files = [file("a", imports: ["b", "c", "gone"]), file("b", imports: ["c"]), file("c", imports: ["a"])]
    let index = ProtoFileIndex(descriptors: files + [[0xFF, 0xFF]])
    #expect(index.descriptors(of: "a") == files)
    #expect(index.descriptors(of: "gone") == [])
  }

  @Test func brokenRequestsEndTheStream() {
    for request: [UInt8] in [[0xFF], [0x1A, 0x05, 0x61], [0x1A, 0x02, 0xC3, 0x28], [0x18, 0x01], [0x00], [0x0B]] {
      #expect(throws: RPCStatus.self) { try answers.response(to: request) }
    }
    #expect(throws: RPCStatus.self) { try answers.response(to: Array(repeating: 0x1A, count: ReflectionAnswers.requestBytesMax + 1)) }
  }
}
