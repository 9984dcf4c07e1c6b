/// Server reflection, by which tools such as grpcurl learn the services, methods and messages of a server without a proto file. Source:
/// grpc.reflection.v1 and v1alpha (protos/grpc/reflection), which differ in name only.
///
/// Everything is decided when it is made; requests only look up.
public struct ReflectionService: Sendable {
  /// Reflection under its two names. To be served beside what it describes.
  public let services: [RPCService]

  /// `services`: what the server offers besides reflection. Their `fileDescriptors` are what can be asked for; a service without any is
  /// listed, and asking for its file is NOT_FOUND.
  public init(services: [RPCService]) {
    let versions = [("grpc.reflection.v1.ServerReflection", ProtoFile.reflection), ("grpc.reflection.v1alpha.ServerReflection", .reflectionAlpha)]
    let files = services.flatMap(\.fileDescriptors) + versions.map(\.1.descriptor)
    let answers = ReflectionAnswers(
      services: (services.map(\.name) + versions.map(\.0)).sorted(), index: ProtoFileIndex(descriptors: files))
    self.services = versions.map { name, file in
      RPCService(
        name: name,
        methods: [RPCMethod("ServerReflectionInfo", .streaming) { ReflectionHandler(answers: answers, loop: $0) }],
        fileDescriptors: [file.descriptor])
    }
  }
}

/// From one request's bytes to its response's. Sans-IO.
struct ReflectionAnswers: Sendable {
  /// Requests hold one name. Each is sent back within its response, so long ones are refused.
  static let requestBytesMax = 16 << 10

  let services: [String]
  let index: ProtoFileIndex

  /// Throws for what is no request at all; what cannot be answered is an error response, and the stream goes on.
  func response(to request: [UInt8]) throws(RPCStatus) -> [UInt8] {
    guard request.count <= Self.requestBytesMax else {
      throw RPCStatus(.resourceExhausted, "ServerReflectionRequest: longer than \(Self.requestBytesMax) bytes")
    }
    var host = ""
    // The last member of a oneof counts.
    var question: (number: UInt32, text: String)?
    var reader = ProtobufReader(request, of: "ServerReflectionRequest")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: host = try reader.text(value, "host")
      case 3: question = (number, try reader.text(value, "file_by_filename"))
      case 4: question = (number, try reader.text(value, "file_containing_symbol"))
      case 5: question = (number, try extensionName(try reader.bytes(value, "file_containing_extension")))
      case 6: question = (number, try reader.text(value, "all_extension_numbers_of_type"))
      case 7: question = (number, try reader.text(value, "list_services"))
      default: break
      }
    }
    var response = ProtobufWriter()
    response.text(1, host)
    response.slice(2, request[...])
    answer(question, into: &response)
    return response.bytes
  }

  private func answer(_ question: (number: UInt32, text: String)?, into response: inout ProtobufWriter) {
    guard let question else { return fail(.invalidArgument, "message_request: nothing is asked", into: &response) }
    switch question.number {
    case 3:
      guard index.hasFile(question.text) else { return fail(.notFound, "no file \"\(question.text)\" here", into: &response) }
      files(question.text, into: &response)
    case 4:
      guard let file = index.file(declaring: question.text) else {
        return fail(.notFound, "no file here declares \"\(question.text)\"", into: &response)
      }
      files(file, into: &response)
    case 5:
      fail(.notFound, "no file here declares the \(question.text)", into: &response)
    case 6:
      guard index.isMessage(question.text) else { return fail(.notFound, "no message \"\(question.text)\" here", into: &response) }
      // Nothing here is extended.
      response.message(5) { $0.text(1, question.text) }
    default:
      response.message(6) { list in
        for service in services { list.message(1) { $0.text(1, service) } }
      }
    }
  }

  private func files(_ name: String, into response: inout ProtobufWriter) {
    let descriptors = index.descriptors(of: name)
    response.message(4) { for descriptor in descriptors { $0.slice(1, descriptor[...]) } }
  }

  private func fail(_ code: RPCCode, _ message: String, into response: inout ProtobufWriter) {
    response.message(7) {
      $0.varint(1, UInt64(code.rawValue))
      $0.text(2, message)
    }
  }

  private func extensionName(_ bytes: ArraySlice<UInt8>) throws(RPCStatus) -> String {
    var type = ""
    var extended: UInt64 = 0
    var reader = ProtobufReader(bytes, of: "ExtensionRequest")
    while let (number, value) = try reader.next() {
      switch number {
      case 1: type = try reader.text(value, "containing_type")
      case 2: extended = try reader.number(value, "extension_number")
      default: break
      }
    }
    return "extension \(Int32(truncatingIfNeeded: extended)) of \"\(type)\""
  }
}

/// Answers each message when it comes, and stops reading from clients that do not take the answers.
private final class ReflectionHandler: MethodHandler {
  private static let pendingBytesMax = 256 << 10

  private let answers: ReflectionAnswers

  init(answers: ReflectionAnswers, loop: ServerLoop) {
    self.answers = answers
    super.init(loop: loop)
  }

  override func message(_ call: Call, _ bytes: UnsafeRawBufferPointer) {
    do throws(RPCStatus) {
      let response = try answers.response(to: Array(bytes))
      response.withUnsafeBytes { _ = loop.send(call, $0) }
      if loop.pendingBytes(call) > Self.pendingBytesMax { loop.pauseReading(call) }
    } catch {
      loop.finish(call, error)
    }
  }

  override func writable(_ call: Call) { loop.resumeReading(call) }

  override func halfClosed(_ call: Call) { loop.finish(call) }
}
