import CMessages
import Events
import Foundation
import Testing

/// The reader of V2 requests that goes over the bytes in place, held against what protobuf-c unpacks.
@Suite struct V2OracleTests {
  /// What a request says, in one form for both readers.
  private struct Reading: Equatable {
    var model = ""
    var version = ""
    var id = ""
    var key = ""
    var time: Int64?
    var outputs: [String] = []
    var inputs: [Input] = []

    /// A text with a zero byte, which protobuf-c would cut off.
    var hasZero: Bool { ([model, version, id, key] + outputs + inputs.map(\.name)).contains { $0.utf8.contains(0) } }

    struct Input: Equatable {
      var name = ""
      var rows: UInt64 = 0
      var columns: UInt64 = 0
      var values: [Value] = []
    }

    struct Value: Equatable {
      var kind: UInt32
      var text: [UInt8] = []
      var bits: UInt64 = 0
    }
  }

  private static let limits = EventLimits(valuesMax: 512, textBytesMax: 4096)

  // MARK: Ours

  private func value(_ field: mr_field) -> Reading.Value {
    switch mr_kind(UInt32(field.kind)) {
    case MR_KIND_TEXT: .init(kind: 1, text: Array(UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length))))
    case MR_KIND_NUMBER: .init(kind: 3, bits: field.number.bitPattern)
    default: .init(kind: UInt32(field.kind), bits: UInt64(bitPattern: field.integer))
    }
  }

  private func text(_ bytes: UnsafePointer<CChar>?, _ count: UInt32) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
  }

  private func inPlace(_ bytes: [UInt8], _ reader: InferRequestReader) -> Reading? {
    bytes.withUnsafeBytes { raw in
      guard reader.read(raw) else { return nil }
      let request = reader.request.pointee
      var reading = Reading()
      reading.model = text(request.model_name, request.model_name_length)
      reading.version = text(request.model_version, request.model_version_length)
      reading.id = text(request.event.id, request.event.id_length)
      reading.key = text(request.event.key, request.event.key_length)
      reading.time = request.event.has_event_time ? request.event.event_time_ms : nil
      for index in 0..<Int(request.output_count) {
        guard let output = request.outputs?[index] else { return nil }
        reading.outputs.append(text(output.name, output.name_length))
      }
      for index in 0..<Int(request.tensor_count) {
        guard let tensors = request.tensors else { return nil }
        var input = Reading.Input(name: text(tensors[index].name, tensors[index].name_length), rows: request.rows, columns: tensors[index].columns)
        var field = mr_field()
        for _ in 0..<Int(request.rows * tensors[index].columns) {
          mr_tensor_next(tensors + index, &field)
          input.values.append(value(field))
        }
        reading.inputs.append(input)
      }
      return reading
    }
  }

  // MARK: protobuf-c's

  private static let sizes: [String: Int] = [
    "BOOL": 1, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "FP16": 2, "BF16": 2,
    "FP32": 4, "FP64": 8, "BYTES": 0,
  ]

  /// The checks, by a second hand, over unpacked messages.
  private func unpacked(_ bytes: [UInt8]) -> Reading? {
    guard let message = inference__model_infer_request__unpack(nil, bytes.count, bytes) else { return nil }
    defer { inference__model_infer_request__free_unpacked(message, nil) }
    let request = message.pointee
    var reading = Reading(
      model: String(cString: request.model_name), version: String(cString: request.model_version), id: String(cString: request.id))
    guard reading.id.utf8.count <= Self.limits.idBytesMax else { return nil }
    for index in 0..<request.n_parameters {
      guard let entry = request.parameters[index]?.pointee, let value = entry.value?.pointee else { continue }
      switch (String(cString: entry.key), value.parameter_choice_case) {
      case (_, INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE__NOT_SET): break
      case ("key", INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_STRING_PARAM): reading.key = String(cString: value.string_param)
      case ("event_time", INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_INT64_PARAM): reading.time = value.int64_param
      case ("event_time", INFERENCE__INFER_PARAMETER__PARAMETER_CHOICE_UINT64_PARAM) where value.uint64_param <= UInt64(Int64.max):
        reading.time = Int64(value.uint64_param)
      case ("key", _), ("event_time", _): return nil
      default: break
      }
    }
    for index in 0..<request.n_outputs {
      guard let output = request.outputs[index]?.pointee else { return nil }
      reading.outputs.append(String(cString: output.name))
    }
    let raws = request.n_raw_input_contents
    guard request.n_inputs > 0, raws == 0 || raws == request.n_inputs else { return nil }
    var total = 0
    for index in 0..<request.n_inputs {
      guard let input = request.inputs[index]?.pointee, input.n_shape > 0 else { return nil }
      let shape = (0..<input.n_shape).map { input.shape[$0] }
      guard shape.allSatisfy({ $0 >= 0 }) else { return nil }
      var columns = 1
      for size in shape.dropFirst() {
        let (product, overflow) = columns.multipliedReportingOverflow(by: Int(size))
        guard !overflow else { return nil }
        columns = product
      }
      let (elements, overflow) = columns.multipliedReportingOverflow(by: Int(shape[0]))
      guard !overflow, elements <= Self.limits.valuesMax, shape[0] <= Self.limits.valuesMax, shape[0] > 0 else { return nil }
      total += elements
      let datatype = String(cString: input.datatype)
      guard let size = Self.sizes[datatype], total <= Self.limits.valuesMax else { return nil }
      if index > 0, reading.inputs[0].rows != UInt64(shape[0]) { return nil }
      let contents = input.contents?.pointee
      let values =
        raws > 0
        ? raw(request.raw_input_contents[index], datatype, size, elements, hasContents: contents.map(listed) ?? 0 > 0)
        : list(contents, datatype, elements)
      guard let values else { return nil }
      reading.inputs.append(.init(name: String(cString: input.name), rows: UInt64(shape[0]), columns: UInt64(columns), values: values))
    }
    return reading
  }

  private func listed(_ contents: Inference__InferTensorContents) -> Int {
    contents.n_bool_contents + contents.n_int_contents + contents.n_int64_contents + contents.n_uint_contents + contents.n_uint64_contents
      + contents.n_fp32_contents + contents.n_fp64_contents + contents.n_bytes_contents
  }

  private func unsigned(_ value: UInt64) -> Reading.Value { .init(kind: value <= UInt64(Int64.max) ? 2 : 5, bits: value) }
  private func signed(_ value: Int64) -> Reading.Value { .init(kind: 2, bits: UInt64(bitPattern: value)) }
  private func number(_ value: Double) -> Reading.Value { .init(kind: 3, bits: value.bitPattern) }

  private func raw(_ data: ProtobufCBinaryData, _ datatype: String, _ size: Int, _ elements: Int, hasContents: Bool) -> [Reading.Value]? {
    guard !hasContents else { return nil }
    let bytes = UnsafeRawBufferPointer(start: data.data, count: data.len)
    if datatype == "BYTES" {
      var values: [Reading.Value] = []
      var at = 0
      for _ in 0..<elements {
        guard bytes.count - at >= 4 else { return nil }
        let count = Int(bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self))
        guard count <= bytes.count - at - 4, count <= Self.limits.textBytesMax else { return nil }
        values.append(.init(kind: 1, text: Array(bytes[at + 4..<at + 4 + count])))
        at += 4 + count
      }
      return at == bytes.count ? values : nil
    }
    guard bytes.count == elements * size else { return nil }
    return (0..<elements).map { index in
      func load<T>(_ type: T.Type) -> T { bytes.loadUnaligned(fromByteOffset: index * size, as: type) }
      switch datatype {
      case "BOOL": return .init(kind: 4, bits: load(UInt8.self) != 0 ? 1 : 0)
      case "INT8": return signed(Int64(load(Int8.self)))
      case "INT16": return signed(Int64(load(Int16.self)))
      case "INT32": return signed(Int64(load(Int32.self)))
      case "INT64": return signed(load(Int64.self))
      case "UINT8": return unsigned(UInt64(load(UInt8.self)))
      case "UINT16": return unsigned(UInt64(load(UInt16.self)))
      case "UINT32": return unsigned(UInt64(load(UInt32.self)))
      case "UINT64": return unsigned(load(UInt64.self))
      case "FP16": return number(half(load(UInt16.self)))
      case "BF16": return number(Double(Float(bitPattern: UInt32(load(UInt16.self)) << 16)))
      case "FP32": return number(Double(load(Float.self)))
      default: return number(load(Double.self))
      }
    }
  }

  /// By arithmetic, where ours shifts bits. The payload of a NaN is not compared.
  private func half(_ bits: UInt16) -> Double {
    let exponent = Int(bits >> 10 & 0x1F)
    let fraction = Double(bits & 0x3FF)
    let sign: Double = bits & 0x8000 == 0 ? 1 : -1
    if exponent == 31 {
      if fraction == 0 { return sign * .infinity }
      return Double(Float(bitPattern: UInt32(bits & 0x8000) << 16 | 0x7F80_0000 | UInt32(bits & 0x3FF) << 13))
    }
    return exponent == 0 ? sign * fraction * 0x1p-24 : sign * (1 + fraction / 1024) * exp2(Double(exponent - 15))
  }

  private func list(_ contents: Inference__InferTensorContents?, _ datatype: String, _ elements: Int) -> [Reading.Value]? {
    guard datatype != "FP16", datatype != "BF16" else { return nil }
    guard let contents else { return elements == 0 ? [] : nil }
    let values: [Reading.Value]
    switch datatype {
    case "BOOL": values = (0..<contents.n_bool_contents).map { .init(kind: 4, bits: contents.bool_contents[$0] != 0 ? 1 : 0) }
    case "INT8", "INT16", "INT32": values = (0..<contents.n_int_contents).map { signed(Int64(contents.int_contents[$0])) }
    case "INT64": values = (0..<contents.n_int64_contents).map { signed(contents.int64_contents[$0]) }
    case "UINT8", "UINT16", "UINT32": values = (0..<contents.n_uint_contents).map { unsigned(UInt64(contents.uint_contents[$0])) }
    case "UINT64": values = (0..<contents.n_uint64_contents).map { unsigned(contents.uint64_contents[$0]) }
    case "FP32": values = (0..<contents.n_fp32_contents).map { number(Double(contents.fp32_contents[$0])) }
    case "FP64": values = (0..<contents.n_fp64_contents).map { number(contents.fp64_contents[$0]) }
    default:
      values = (0..<contents.n_bytes_contents).map {
        .init(kind: 1, text: Array(UnsafeRawBufferPointer(start: contents.bytes_contents[$0].data, count: contents.bytes_contents[$0].len)))
      }
      guard values.allSatisfy({ $0.text.count <= Self.limits.textBytesMax }) else { return nil }
    }
    return values.count == listed(contents) && values.count == elements ? values : nil
  }

  // MARK: Requests

  /// Random requests: every datatype, lists packed, unpacked and in pieces, fields in any order and more than once, unknown fields, and
  /// now and then a contradiction.
  private struct Generator {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(below(256)) } }

    mutating func unknown() -> [UInt8] {
      switch below(4) {
      case 0: V2Request.field(UInt64(20 + below(2000)), bytes(below(5)))
      case 1: V2Request.field(UInt64(9 + below(9)), varint: UInt64(below(1 << 30)))
      case 2: V2Request.field(UInt64(30 + below(9)), double: 1.5)
      default: V2Request.varint(UInt64(40 << 3 | 5)) + bytes(4)
      }
    }

    static let kinds = ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "BF16", "FP32", "FP64", "BYTES"]

    /// One element of a list: its field number, how a lone one is tagged, and its bytes.
    mutating func element(_ kind: String) -> (number: UInt64, wireType: UInt64, bytes: [UInt8]) {
      let big = UInt64(below(1 << 31)) << UInt64(below(34))
      switch kind {
      case "BOOL": return (1, 0, V2Request.varint(UInt64(below(2))))
      case "INT8", "INT16", "INT32": return (2, 0, V2Request.varint(chance(50) ? UInt64(below(200)) : UInt64(bitPattern: -Int64(below(1 << 31)))))
      case "INT64": return (3, 0, V2Request.varint(chance(50) ? big : UInt64(bitPattern: -Int64(below(99)))))
      case "UINT8", "UINT16", "UINT32": return (4, 0, V2Request.varint(UInt64(below(1 << 31))))
      case "UINT64": return (5, 0, V2Request.varint(chance(20) ? .max : big))
      case "FP32": return (6, 5, V2Request.little(Float(below(1000)).bitPattern))
      case "FP64": return (7, 1, V2Request.little(Double(below(1000)).bitPattern))
      default:
        let text = bytes(below(9))
        return (8, 2, V2Request.varint(UInt64(text.count)) + text)
      }
    }

    mutating func contents(_ kind: String, _ count: Int) -> [UInt8] {
      var out: [UInt8] = []
      var left = count
      while left > 0 {
        let piece = 1 + below(left)
        let elements = (0..<piece).map { _ in element(kind) }
        if elements[0].wireType != 2, chance(60) {
          out += V2Request.field(elements[0].number, elements.flatMap(\.bytes))
        } else {
          for element in elements { out += V2Request.varint(element.number << 3 | element.wireType) + element.bytes }
        }
        if chance(10) { out += unknown() }
        left -= piece
      }
      return out
    }

    mutating func request() -> [UInt8] {
      let isRaw = chance(60)
      let rows = 1 + below(3)
      var header: [[UInt8]] = []
      var raws: [UInt8] = []
      if chance(90) { header.append(V2Request.field(1, utf8("model-\(below(3))"))) }
      if chance(20) { header.append(V2Request.field(1, utf8("later"))) }
      if chance(30) { header.append(V2Request.field(2, utf8("2"))) }
      if chance(60) { header.append(V2Request.field(3, utf8("id-\(below(100))"))) }
      for (name, value) in [("key", V2Request.field(3, utf8("k\(below(9))"))), ("event_time", V2Request.field(2, varint: UInt64(below(1 << 30)))),
        ("event_time", V2Request.field(5, varint: chance(5) ? .max : 7)), ("other", V2Request.field(1, varint: 1)), ("key", V2Request.field(4, double: 1))]
      where chance(name == "key" && value.first == 0x21 ? 2 : 20) {
        header.append(V2Request.field(4, Generator.shuffled([V2Request.field(1, utf8(name)), V2Request.field(2, value)], &self)))
      }
      for output in 0..<below(3) { header.append(V2Request.field(6, V2Request.field(1, utf8("out-\(output)")))) }
      var inputs: [[UInt8]] = []
      for index in 0...below(5) {
        let kind = Self.kinds[below(Self.kinds.count)]
        let columns = below(10) == 0 ? 0 : 1 + below(3)
        let count = rows * columns + (chance(2) ? 1 : 0)
        var parts = [V2Request.field(1, utf8("input-\(index)")), V2Request.field(2, utf8(kind))]
        let shape = [UInt64(rows), UInt64(columns)] + (chance(10) ? [1] : [])
        if chance(70) {
          parts.append(V2Request.field(3, shape.flatMap { V2Request.varint($0) }))
        } else {
          parts.append(shape.flatMap { V2Request.field(3, varint: $0) })
        }
        if isRaw {
          let size = V2OracleTests.sizes[kind] ?? 0
          var raw: [UInt8] = []
          for _ in 0..<count { raw += size > 0 ? bytes(size) : V2Request.rawTexts([String(repeating: "x", count: below(9))]) }
          raws += V2Request.field(7, raw)
          if chance(2) { parts.append(V2Request.field(5, contents(kind, 1))) }
        } else if count > 0 {
          // A message that comes twice is merged: lists go on.
          let first = below(count + 1)
          parts.append(V2Request.field(5, contents(kind, first)))
          if first < count { parts.append(V2Request.field(5, contents(kind, count - first))) }
        }
        if chance(10) { parts.append(unknown()) }
        if chance(30) { parts = Generator.reordered(parts, &self) }
        inputs.append(V2Request.field(5, parts.flatMap { $0 }))
      }
      var groups = [header.flatMap { $0 }, inputs.flatMap { $0 }, raws]
      if chance(20) { groups[1] = inputs.flatMap { $0 + unknown() } }
      if chance(30) { groups = Generator.reordered(groups, &self) }
      return groups.flatMap { $0 }
    }

    static func shuffled(_ parts: [[UInt8]], _ generator: inout Generator) -> [UInt8] { reordered(parts, &generator).flatMap { $0 } }

    static func reordered(_ parts: [[UInt8]], _ generator: inout Generator) -> [[UInt8]] {
      var parts = parts
      for i in stride(from: parts.count - 1, to: 0, by: -1) { parts.swapAt(i, generator.below(i + 1)) }
      return parts
    }
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func agreeOnRandomRequests(seed: UInt64) {
    var generator = Generator(state: seed)
    let reader = InferRequestReader(limits: Self.limits, inputsMax: 64)
    var read = 0
    for round in 0..<500 {
      let request = generator.request()
      let theirs = unpacked(request)
      // Twice: the second time the inputs are known.
      for _ in 0..<2 { #expect(inPlace(request, reader) == theirs, "seed \(seed) round \(round) \(reader.problem())") }
      if theirs != nil { read += 1 }
    }
    #expect(read > 300 && read < 500, "seed \(seed): \(read)")
  }

  /// Requests with bytes changed, cut off or doubled: where both read one, they read the same, and ours takes nothing that protobuf-c does
  /// not take.
  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func agreeOnDamagedRequests(seed: UInt64) {
    var generator = Generator(state: seed &+ 1000)
    let reader = InferRequestReader(limits: Self.limits, inputsMax: 64)
    var bothRead = 0
    for round in 0..<1000 {
      var damaged = generator.request()
      // The whole request comes first, so that a plan is there for what is damaged.
      _ = inPlace(damaged, reader)
      for _ in 0...generator.below(2) where !damaged.isEmpty {
        switch generator.below(5) {
        case 0: damaged.removeLast(generator.below(damaged.count))
        case 1: damaged.insert(UInt8(generator.below(256)), at: generator.below(damaged.count))
        default: damaged[generator.below(damaged.count)] = UInt8(generator.below(256))
        }
      }
      let ours = inPlace(damaged, reader)
      guard let theirs = unpacked(damaged) else {
        #expect(ours == nil, "seed \(seed) round \(round): protobuf-c refuses it")
        continue
      }
      // protobuf-c's strings end at a zero byte.
      guard let ours, !ours.hasZero else { continue }
      bothRead += 1
      #expect(ours == theirs, "seed \(seed) round \(round)")
    }
    #expect(bothRead > 100, "seed \(seed): \(bothRead)")
  }

  /// Shapes that take turns, more of them than the reader remembers.
  @Test func plansGiveWhatReadingGives() throws {
    let reader = InferRequestReader(limits: Self.limits, inputsMax: 64)
    func request(_ rows: Int, _ names: [String], value: Float) -> [UInt8] {
      V2Request(
        id: "r",
        inputs: names.map { .init(name: $0, datatype: "FP32", shape: [Int64(rows), 1], raw: V2Request.rawFloats(Array(repeating: value, count: rows))) }
      ).bytes
    }
    var serials: Set<UInt64> = []
    for round in 0..<5 {
      for rows in 1...12 {
        for names in [["a"], ["a", "b"], ["a", "b", "c"]] {
          let bytes = request(rows, names, value: Float(round * 100 + rows))
          #expect(inPlace(bytes, reader) == unpacked(bytes))
          serials.insert(reader.request.pointee.plan_serial)
        }
      }
    }
    #expect(!serials.contains(0))
    // The same shape again is the same plan; another value is read.
    let first = request(1, ["a", "b"], value: 1)
    let second = request(1, ["a", "b"], value: 2)
    #expect(inPlace(first, reader) == unpacked(first))
    let serial = reader.request.pointee.plan_serial
    #expect(inPlace(second, reader) == unpacked(second) && reader.request.pointee.plan_serial == serial)
    // Inputs after the contents are inputs too, plan or not.
    let extra = V2Request.field(5, V2Request.field(1, utf8("c")) + V2Request.field(2, utf8("BOOL")) + V2Request.field(3, varint: 1))
    #expect(inPlace(first + extra, reader) == nil)
    let whole = first + extra + V2Request.field(7, [1])
    #expect(inPlace(whole, reader) == unpacked(whole) && unpacked(whole)?.inputs.count == 3)
  }
}
