import CMessages
import Foundation
import RPC
import Telemetry

@testable import Endpoint

/// V2 requests by hand, wrong ones too, beside the client library's writer.
struct InferRequestBytes {
  struct Input {
    var name: String
    var datatype: String
    var shape: [Int64]
    var raw: [UInt8]?
    /// The bytes of an InferTensorContents.
    var contents: [UInt8]?
    /// Bytes of InferParameter messages.
    var parameters: [(String, [UInt8])] = []
  }

  var model = "clicks"
  var version = ""
  var id = ""
  var parameters: [(String, [UInt8])] = []
  var inputs: [Input] = []
  var outputs: [String] = []

  var bytes: [UInt8] {
    var out = Self.field(1, Self.utf8(model))
    if !version.isEmpty { out += Self.field(2, Self.utf8(version)) }
    if !id.isEmpty { out += Self.field(3, Self.utf8(id)) }
    for (name, value) in parameters { out += Self.field(4, Self.field(1, Self.utf8(name)) + Self.field(2, value)) }
    for input in inputs {
      var tensor = Self.field(1, Self.utf8(input.name)) + Self.field(2, Self.utf8(input.datatype))
      tensor += Self.field(3, input.shape.flatMap { Self.varint(UInt64(bitPattern: $0)) })
      for (name, value) in input.parameters { tensor += Self.field(4, Self.field(1, Self.utf8(name)) + Self.field(2, value)) }
      if let contents = input.contents { tensor += Self.field(5, contents) }
      out += Self.field(5, tensor)
    }
    for output in outputs { out += Self.field(6, Self.field(1, Self.utf8(output))) }
    for input in inputs { if let raw = input.raw { out += Self.field(7, raw) } }
    return out
  }

  static func text(_ name: String, _ values: [String], columns: Int = 1) -> Input {
    Input(name: name, datatype: "BYTES", shape: [Int64(values.count / columns), Int64(columns)], raw: rawTexts(values))
  }

  static func floats(_ name: String, _ values: [Float], columns: Int = 1) -> Input {
    Input(name: name, datatype: "FP32", shape: [Int64(values.count / columns), Int64(columns)], raw: rawFloats(values))
  }

  static func integer(_ value: Int64) -> [UInt8] { varint(2 << 3) + varint(UInt64(bitPattern: value)) }
  static func unsigned(_ value: UInt64) -> [UInt8] { varint(5 << 3) + varint(value) }
  static func string(_ value: String) -> [UInt8] { field(3, utf8(value)) }
  static func flag(_ value: Bool) -> [UInt8] { [1 << 3, value ? 1 : 0] }

  static func varint(_ value: UInt64) -> [UInt8] {
    var value = value
    var out: [UInt8] = []
    while value >= 0x80 {
      out.append(UInt8(value & 0x7F) | 0x80)
      value >>= 7
    }
    return out + [UInt8(value)]
  }

  static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] { varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes }
  static func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
  static func rawTexts(_ texts: [String]) -> [UInt8] { texts.flatMap { little(UInt32($0.utf8.count)) + utf8($0) } }
  static func rawFloats(_ values: [Float]) -> [UInt8] { values.flatMap { little($0.bitPattern) } }
  static func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }
}

/// A ModelInferResponse as protobuf-c reads it.
struct InferResponse: Equatable {
  var model = ""
  var version = ""
  var id = ""
  var texts: [String: String] = [:]
  var integers: [String: Int64] = [:]
  var output = ""
  var datatype = ""
  var shape: [Int64] = []
  var scores: [Float] = []

  init?(_ bytes: [UInt8]) {
    guard let message = inference__model_infer_response__unpack(nil, bytes.count, bytes) else { return nil }
    defer { inference__model_infer_response__free_unpacked(message, nil) }
    let response = message.pointee
    model = String(cString: response.model_name)
    version = String(cString: response.model_version)
    id = String(cString: response.id)
    for index in 0..<response.n_parameters {
      guard let entry = response.parameters[index]?.pointee, let value = entry.value?.pointee else { return nil }
      let name = String(cString: entry.key)
      switch value.parameter_choice_case {
      case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM: texts[name] = String(cString: value.string_param)
      case INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM: integers[name] = value.int64_param
      default: return nil
      }
    }
    guard response.n_outputs == 1, response.n_raw_output_contents == 1, let tensor = response.outputs[0]?.pointee else { return nil }
    output = String(cString: tensor.name)
    datatype = String(cString: tensor.datatype)
    shape = (0..<tensor.n_shape).map { tensor.shape[$0] }
    let raw = response.raw_output_contents[0]
    guard raw.len % 4 == 0 else { return nil }
    scores = (0..<raw.len / 4).map { UnsafeRawPointer(raw.data).loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
  }
}

/// The answer to one request, copied.
enum InferOutcome: Equatable {
  case response(InferResponse)
  case refused(RPCCode, String)

  var response: InferResponse? { if case .response(let response) = self { response } else { nil } }
  var code: RPCCode { if case .refused(let code, _) = self { code } else { .ok } }
  var message: String { if case .refused(_, let message) = self { message } else { "" } }
}

extension InferenceBatch {
  /// Answers of requests that are asked in one run, by their order; empties the batch.
  func outcomes(_ requests: [[UInt8]], deadlineNanoseconds: Int64 = .max) -> [InferOutcome?] {
    for (index, request) in requests.enumerated() {
      request.withUnsafeBytes { add($0, token: UInt64(index), deadlineNanoseconds: deadlineNanoseconds) }
    }
    run()
    var outcomes = [InferOutcome?](repeating: nil, count: requests.count)
    for index in 0..<answerCount {
      let answer = answer(index)
      let bytes = Array(answer.bytes)
      outcomes[Int(answer.token)] =
        answer.code == .ok
        ? InferResponse(bytes).map(InferOutcome.response) : .refused(answer.code, String(decoding: bytes, as: UTF8.self))
    }
    removeAll()
    return outcomes
  }

  func outcome(_ request: InferRequestBytes) -> InferOutcome { outcomes([request.bytes])[0] ?? .refused(.internal, "no answer") }
}
