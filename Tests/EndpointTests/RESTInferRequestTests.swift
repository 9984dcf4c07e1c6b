import CMessages
import Foundation
import RPC
import Testing

@testable import Endpoint

@Suite struct RESTInferRequestTests {
  private func request(
    _ json: String, binary: [UInt8] = [], jsonBytes: Int? = nil, limits: InferenceLimits = InferenceLimits()
  ) throws -> RESTInferRequest {
    let bytes = Array(json.utf8) + binary
    return try bytes.withUnsafeBytes {
      try RESTInferRequest(
        body: $0, jsonBytes: jsonBytes ?? (binary.isEmpty ? nil : json.utf8.count), model: "clicks", version: "1", limits: limits)
    }
  }

  private func problem(_ json: String, binary: [UInt8] = [], jsonBytes: Int? = nil, limits: InferenceLimits = InferenceLimits()) -> String {
    do {
      _ = try request(json, binary: binary, jsonBytes: jsonBytes, limits: limits)
      return "none"
    } catch {
      guard let status = error as? RPCStatus, status.code == .invalidArgument else { return "\(error)" }
      return status.message
    }
  }

  /// The raw contents of a request with one input, as JSON gives them.
  private func raw(_ datatype: String, _ data: String) throws -> [UInt8] {
    let message = try request(#"{"inputs":[{"name":"x","datatype":"\#(datatype)","shape":[1,1],"data":\#(data)}]}"#).message
    let read = try #require(inference__model_infer_request__unpack(nil, message.count, message))
    defer { inference__model_infer_request__free_unpacked(read, nil) }
    #expect(read.pointee.n_raw_input_contents == 1)
    let contents = read.pointee.raw_input_contents[0]
    return Array(UnsafeBufferPointer(start: contents.data, count: contents.len))
  }

  @Test func everyPartReachesTheMessage() throws {
    let request = try request(
      """
      {"parameters":{"key":"k","event_time":1370088000000,"weight":0.5,"log":false,"big":18446744073709551615,"binary_data_output":true},
       "outputs":[{"name":"score","parameters":{"binary_data":false}}],"other":[{"ignored":null}],
       "inputs":[{"data":[["Oslo"],["R\\u00f8ros"]],"shape":[2,1],"name":"city","datatype":"BYTES"},
                 {"name":"price","shape":[2,1],"datatype":"FP32","parameters":{"binary_data_size":8}}],"id":"e1"}
      """, binary: [0, 0, 128, 63, 0, 0, 0, 64])
    let message = try #require(inference__model_infer_request__unpack(nil, request.message.count, request.message))
    defer { inference__model_infer_request__free_unpacked(message, nil) }
    let read = message.pointee
    #expect(String(cString: read.model_name) == "clicks" && String(cString: read.model_version) == "1" && String(cString: read.id) == "e1")
    #expect(read.n_parameters == 5 && read.n_outputs == 1 && read.n_inputs == 2 && read.n_raw_input_contents == 2)
    let kinds = try (0..<5).map { try #require(read.parameters[$0]?.pointee.value).pointee.parameter_choice_case.rawValue }
    #expect(kinds == [3, 2, 4, 1, 5])
    let inputs = try (0..<2).map { try #require(read.inputs[$0]).pointee }
    #expect(inputs.map { String(cString: $0.name) } == ["city", "price"] && inputs.map { String(cString: $0.datatype) } == ["BYTES", "FP32"])
    #expect(inputs.map { Array(UnsafeBufferPointer(start: $0.shape, count: $0.n_shape)) } == [[2, 1], [2, 1]])
    let raws = (0..<2).map { Array(UnsafeBufferPointer(start: read.raw_input_contents[$0].data, count: read.raw_input_contents[$0].len)) }
    #expect(raws[0] == [4, 0, 0, 0] + Array("Oslo".utf8) + [6, 0, 0, 0] + Array("Røros".utf8))
    #expect(raws[1] == [0, 0, 128, 63, 0, 0, 0, 64])
    #expect(request.forms.isBinaryByDefault && !request.forms.isBinary("score") && request.forms.isBinary("other"))
  }

  @Test func everyDatatypeHasItsBytes() throws {
    #expect(try raw("BOOL", "[true, 0]") == [1, 0])
    #expect(try raw("INT8", "[-1, 2.0]") == [255, 2])
    #expect(try raw("UINT8", "[255]") == [255])
    #expect(try raw("INT16", "[-2]") == [254, 255])
    #expect(try raw("UINT16", "[258]") == [2, 1])
    #expect(try raw("INT32", "[1]") == [1, 0, 0, 0])
    #expect(try raw("UINT32", "[4294967295]") == [255, 255, 255, 255])
    #expect(try raw("INT64", "[-9223372036854775808]") == [0, 0, 0, 0, 0, 0, 0, 128])
    #expect(try raw("UINT64", "[18446744073709551615]") == Array(repeating: 255, count: 8))
    #expect(try raw("FP32", "[1, [[1.5]]]") == [0, 0, 128, 63, 0, 0, 192, 63])
    #expect(try raw("FP64", "[1e0]") == [0, 0, 0, 0, 0, 0, 240, 63])
    #expect(try raw("BYTES", #"["a\n\u0000"]"#) == [3, 0, 0, 0, 97, 10, 0])
    #expect(try raw("BYTES", #"[[""]]"#) == [0, 0, 0, 0])
  }

  @Test(arguments: [
    ("FP32", "[1e39]"), ("FP32", "[1e400]"), ("FP64", "[-1e400]"), ("FP32", "[\"1\"]"), ("FP32", "[true]"), ("FP32", "[null]"), ("INT8", "[128]"),
    ("UINT8", "[-1]"), ("UINT64", "[18446744073709551616]"), ("INT32", "[1.5]"), ("INT64", "[1e30]"), ("BOOL", "[2]"), ("BOOL", "[\"true\"]"),
    ("BYTES", "[1]"), ("BYTES", "[{}]"),
  ])
  func valuesThatTheTypeCannotHoldAreRefusedByPlace(datatype: String, data: String) {
    let text = problem(#"{"inputs":[{"name":"temp","datatype":"\#(datatype)","shape":[1,1],"data":\#(data)}]}"#)
    #expect(text.hasPrefix("inputs[0] \"temp\": element 0 of data is no \(datatype)"), "\(text)")
  }

  @Test(arguments: [
    ("", "the body is empty"), ("[]", "an object is expected"), ("{\"id\":1}", "id: must be a string"), ("{\"inputs\":{}}", "inputs: a list is expected"),
    ("{\"inputs\":[1]}", "inputs[0]: an object is expected"), ("{\"inputs\":[{\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}", "inputs[0].name: is missing"),
    ("{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"data\":[1]}]}", "inputs[0] \"x\".datatype: is missing"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1]}]}", "inputs[0] \"x\".shape: is missing"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1]}]}", "inputs[0] \"x\".data: is missing"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP33\",\"shape\":[1],\"data\":[1]}]}", "the datatype \"FP33\" is none"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP16\",\"shape\":[1],\"data\":[1]}]}", "FP16 travels as binary data only"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1.5],\"data\":[1]}]}", ".shape: size 0 is no whole number"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1e99],\"data\":[1]}]}", ".shape: size 0 is no whole number"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[NaN]}]}", "a value is expected at byte"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":1}]}", "inputs[0] \"x\": data: a list is expected"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":{\"shared_memory_region\":\"r\"}}]}", "shared memory is not offered"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":{\"binary_data_size\":-1}}]}", "binary_data_size: must be a number of bytes"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":{\"binary_data_size\":9223372036854775807}}]}", "of the body are left"),
    ("{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1],\"parameters\":{\"binary_data_size\":0}}]}", "has both data and binary_data_size"),
    ("{\"outputs\":[{}]}", "outputs[0].name: is missing"), ("{\"outputs\":[{\"name\":\"s\",\"parameters\":{\"classification\":3}}]}", "classification"),
    ("{\"parameters\":{\"a\":[]}}", "parameters.a: must be"), ("{\"parameters\":{\"a\":1e999}}", "parameters.a: the number is out of range"),
    ("{} x", "the end is expected"), ("{\"id\":\"\\ud800\"}", "surrogate"),
  ])
  func whatIsWrongIsNamed(json: String, words: String) {
    let text = problem(json)
    #expect(text.contains(words), "\(json): \(text)")
  }

  @Test func theBinaryPartMustAddUp() {
    let two = #"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}"#
    #expect(problem(two, binary: [UInt8](repeating: 0, count: 8)) == "none")
    #expect(problem(two, binary: [UInt8](repeating: 0, count: 7)).contains("inputs[1] \"y\".parameters.binary_data_size: 4 bytes, but only 3"))
    #expect(problem(two, binary: [UInt8](repeating: 0, count: 9)).contains("1 bytes follow the last binary tensor"))
    for bytes in [-1, two.utf8.count + 1, Int.max] { #expect(problem(two, jsonBytes: bytes).contains(RESTInferRequest.jsonBytesHeader)) }
    #expect(problem(two, jsonBytes: 0).contains("the body is empty"))
  }

  @Test func hugeBodiesStopAtTheBound() {
    let limits = InferenceLimits(inputsMax: 10, valuesMax: 1000)
    let many = "[" + Array(repeating: "1", count: 1_000_000).joined(separator: ",") + "]"
    #expect(problem(#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":\#(many)}]}"#, limits: limits).contains("more values than the bound"))
    let input = #"{"name":"x","datatype":"FP32","shape":[1],"data":[1]}"#
    #expect(problem("{\"inputs\":[" + Array(repeating: input, count: 11).joined(separator: ",") + "]}", limits: limits).contains("inputs: more than 10"))
    let deep = String(repeating: "[", count: 100_000)
    #expect(problem(#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":\#(deep)}]}"#).contains("nested deeper"))
  }

  @Test func mutatedRequestsEndWithAnAnswer() {
    var generator = Seeded(seed: 0x7265_7374)
    let seed = Array(
      #"{"id":"e","parameters":{"key":"k","n":1},"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[[1.5,2]]},{"name":"y","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":5}}],"outputs":[{"name":"score"}]}"#
        .utf8)
    var taken = 0
    for _ in 0..<20_000 {
      var bytes = seed
      for _ in 0..<Int.random(in: 0...3, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        if Bool.random(using: &generator) {
          bytes[place] = "{}[]\",:0-9.eatrufl".utf8.randomElement(using: &generator) ?? 0
        } else {
          bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...8, using: &generator)))
        }
      }
      let json = bytes.count
      let body = bytes + [1, 0, 0, 0, 65]
      let isTaken = body.withUnsafeBytes {
        (try? RESTInferRequest(body: $0, jsonBytes: json, model: "m", version: "", limits: InferenceLimits())) != nil
      }
      if isTaken { taken += 1 }
    }
    #expect(taken > 1000 && taken < 19_000, "\(taken) of 20000 were taken (seed 0x72657374)")
  }
}

@Suite struct RESTInferResponseTests {
  private func response(_ outputs: [(String, String, [Int64], [UInt8])], forms: RESTInferRequest.OutputForms = .init()) throws -> RESTInferResponse {
    var writer = ProtobufWriter()
    writer.text(1, "clicks")
    writer.text(2, "1")
    writer.text(3, "e\"1")
    writer.message(4) {
      $0.text(1, "position")
      $0.message(2) { $0.text(3, "1,2") }
    }
    writer.message(4) {
      $0.text(1, "staleness_ms")
      $0.message(2) { $0.varint(2, 17) }
    }
    for (name, datatype, shape, _) in outputs {
      writer.message(5) {
        $0.text(1, name)
        $0.text(2, datatype)
        $0.packed(3, shape.map { UInt64(bitPattern: $0) })
      }
    }
    for (_, _, _, raw) in outputs { writer.slice(6, raw[...]) }
    return try writer.bytes.withUnsafeBytes { try RESTInferResponse($0, forms: forms) }
  }

  @Test func tensorsAreJSONOrBinary() throws {
    let outputs: [(String, String, [Int64], [UInt8])] = [
      ("score", "FP32", [2, 1], [0, 0, 128, 63, 0, 0, 192, 127]), ("n", "INT64", [1], [255, 255, 255, 255, 255, 255, 255, 255]),
      ("t", "BYTES", [2], [1, 0, 0, 0, 97, 0, 0, 0, 0]),
    ]
    let plain = try response(outputs)
    #expect(plain.jsonBytes == nil)
    #expect(
      String(decoding: plain.body, as: UTF8.self)
        == #"{"model_name":"clicks","model_version":"1","id":"e\"1","parameters":{"position":"1,2","staleness_ms":17},"outputs":["#
        + #"{"name":"score","datatype":"FP32","shape":[2,1],"data":[1,null]},{"name":"n","datatype":"INT64","shape":[1],"data":[-1]},"#
        + #"{"name":"t","datatype":"BYTES","shape":[2],"data":["a",""]}]}"#)
    let mixed = try response(outputs, forms: .init(isBinaryByDefault: true, isBinary: ["n": false]))
    let json = try #require(mixed.jsonBytes)
    #expect(String(decoding: mixed.body[..<json], as: UTF8.self).contains(#""shape":[2,1],"parameters":{"binary_data_size":8}}"#))
    #expect(Array(mixed.body[json...]) == outputs[0].3 + outputs[2].3)
  }

  @Test func brokenAnswersOfOursAreErrors() {
    for (datatype, raw) in [("FP32", [UInt8](repeating: 0, count: 3)), ("BYTES", [5, 0, 0, 0, 1]), ("BYTES", [5, 0]), ("FP16", [0, 0])] {
      #expect(throws: RPCStatus.self) { try response([("score", datatype, [1], raw)]) }
    }
  }
}
