import Bundles
import Families
import Foundation
import Kernels
import Model
import Testing

@testable import Importers

/// Bytes of a safetensors file, made by hand.
struct SafetensorsBytes {
  var header: [(name: String, text: String)] = []
  var data: [UInt8] = []

  mutating func add(_ name: String, _ shape: [Int], _ values: [Float], dtype: String = "F32") {
    let start = data.count
    for value in values {
      switch dtype {
      case "F64": withUnsafeBytes(of: Double(value)) { data += $0 }
      case "BF16": withUnsafeBytes(of: UInt16(truncatingIfNeeded: value.bitPattern >> 16)) { data += $0 }
      case "F16": withUnsafeBytes(of: Float16(value).bitPattern) { data += $0 }
      default: withUnsafeBytes(of: value) { data += $0 }
      }
    }
    header.append((name, #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(start),\#(data.count)]}"#))
  }

  var bytes: [UInt8] { Self.bytes("{" + header.map { "\"\($0.name)\":\($0.text)" }.joined(separator: ",") + "}", data) }

  static func bytes(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8) + data
  }
}

@Suite struct SafetensorsTests {
  static func read(_ bytes: [UInt8], _ specification: String) throws -> SafetensorsModel {
    try bytes.withUnsafeBytes { try SafetensorsModel.read($0, specification: specification) }
  }

  static func ramp(_ count: Int, _ start: Float = 0) -> [Float] { (0..<count).map { start + Float($0) / 64 } }

  @Test func tensorsAreReadInEveryPrecision() throws {
    var source = SafetensorsBytes()
    let values: [Float] = [0, -1.5, 2, 0.25, 65_504, 1]
    for dtype in ["F32", "F64", "BF16", "F16"] { source.add("of \(dtype)", [2, 3], dtype == "BF16" ? values.map { $0 == 65_504 ? 65_536 : $0 } : values, dtype: dtype) }
    source.add("nothing", [0, 4], [])
    source.header.append(("__metadata__", #"{"format":"pt"}"#))
    source.header.append(("whole", #"{"dtype":"I8","shape":[4],"data_offsets":[0,4]}"#))
    // Overlaps the first: taken out again below.
    let overlap = source.bytes
    #expect(throws: ImportError.self) { try overlap.withUnsafeBytes { _ = try SafetensorsFile($0) } }
    source.header.removeLast()
    try source.bytes.withUnsafeBytes { bytes in
      let file = try SafetensorsFile(bytes)
      #expect(file.metadata == ["format": "pt"] && file.tensors.count == 5 && file["absent"] == nil)
      for dtype in ["F32", "F64", "BF16", "F16"] {
        let tensor = try #require(file["of \(dtype)"])
        #expect(try file.floats(tensor) == (dtype == "BF16" ? values.map { $0 == 65_504 ? 65_536 : $0 } : values), "\(dtype)")
      }
      #expect(try file.floats(try #require(file["nothing"])).isEmpty)
    }
  }

  @Test func hostileHeadersAreRefused() {
    func place(_ bytes: [UInt8]) -> String {
      do {
        try bytes.withUnsafeBytes { _ = try SafetensorsFile($0) }
        return "accepted"
      } catch let error as ImportError {
        return error.place
      } catch {
        return "\(error)"
      }
    }
    func header(_ text: String, data: Int = 8) -> String { place(SafetensorsBytes.bytes(text, [UInt8](repeating: 0, count: data))) }
    #expect(place([]) == "header" && place([1, 2, 3]) == "header")
    #expect(place([UInt8](repeating: 0xFF, count: 20)) == "header")
    #expect(place(Array(SafetensorsBytes.bytes("{}").dropLast())) == "header")
    #expect(header("{}") == "accepted")
    #expect(header("[]") == "header")
    #expect(header("{\"a\":") != "accepted")
    #expect(header(String(repeating: "[", count: 100_000)) != "accepted")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#) == "accepted")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#) == "header.a.data_offsets")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#) == "header.a.data_offsets")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#) == "header.a.data_offsets")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#) == "header.a.data_offsets[0]")
    #expect(header(#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#) == "header.a.data_offsets")
    #expect(header(#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#).hasPrefix("header.a.shape"))
    #expect(header(#"{"a":{"dtype":"F32","shape":[281474976710656,281474976710656],"data_offsets":[0,0]}}"#) == "header.a.shape")
    #expect(header(#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}"#) == "header.a.shape")
    #expect(header(#"{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#) == "header.a.dtype")
    #expect(header(#"{"a":{"shape":[2],"data_offsets":[0,8]}}"#) == "header.a.dtype")
    #expect(header(#"{"a":7}"#) == "header.a")
    #expect(
      header(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}}"#) == "header.b")
    #expect(header(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#) != "accepted")
  }

  // MARK: Factorization machines

  static let fm = """
    model: clicks
    family: {fm: {factors: 3}}
    loss: logistic
    features:
      country: categorical
      age: {type: numeric, divide: 100}
    """

  static func fmBytes(rows: Int = 5, outputs: Int = 1, _ change: (inout SafetensorsBytes) -> Void = { _ in }) -> [UInt8] {
    var source = SafetensorsBytes()
    source.add("linear.weight", outputs == 1 ? [rows] : [rows, outputs], ramp(rows * outputs, 1))
    source.add("factors.weight", [rows, 3 * outputs], ramp(rows * 3 * outputs, -1), dtype: "F64")
    source.add("bias", [outputs], ramp(outputs, 0.5))
    change(&source)
    return source.bytes
  }

  @Test func aFactorizationMachineIsItsTensors() throws {
    for outputs in [1, 2] {
      let imported = try Self.read(Self.fmBytes(outputs: outputs), Self.fm)
      guard case .fm(let model) = imported.body else {
        Issue.record("no factorization machine")
        continue
      }
      #expect(model.link == .sigmoid && model.factors == 3 && model.bias == Self.ramp(outputs, 0.5) && model.specification?.family == .loaded)
      #expect(model.specification?.features == [.categorical("country"), .numeric("age", NumericTransform(divide: 100))])
      var head = [Float](repeating: 0, count: outputs)
      var values = [Float](repeating: 0, count: 3 * outputs)
      for row in 0..<5 {
        model.table.row(row, head: &head, values: &values)
        #expect(head == Array(Self.ramp(5 * outputs, 1)[row * outputs..<(row + 1) * outputs]))
        #expect(values == Array(Self.ramp(15 * outputs, -1)[row * 3 * outputs..<(row + 1) * 3 * outputs]))
      }
      // It goes into a bundle and comes back.
      let writer = BundleWriter(manifest: BundleManifest(name: "clicks", family: "", outputs: model.outputs))
      imported.write(into: writer)
      let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
      let read = try FactorizationModel(bundle: bundle)
      withExtendedLifetime((read, model)) { #expect(read.table.bytes.elementsEqual(model.table.bytes)) }
    }
    let narrow = Self.fm.replacingOccurrences(of: "factors: 3", with: "precision: int8, link: exp, rows: 5")
    guard case .fm(let model) = try Self.read(Self.fmBytes(), narrow).body else { return }
    #expect(model.table.precision == .int8 && model.link == .exponential)
  }

  static func problem(_ bytes: [UInt8], _ specification: String) -> String {
    do {
      _ = try read(bytes, specification)
      return "accepted"
    } catch {
      return "\(error)"
    }
  }

  @Test func tensorsThatDoNotFitAreNamed() {
    func changed(_ change: (inout SafetensorsBytes) -> Void) -> String { Self.problem(Self.fmBytes(change), Self.fm) }
    #expect(changed { _ in } == "accepted")
    #expect(changed { $0.header.remove(at: 0) }.hasPrefix("linear.weight: there is no such tensor"))
    #expect(changed { $0.header.remove(at: 1) }.hasPrefix("factors.weight: there is no such tensor"))
    #expect(changed { $0.header.remove(at: 2) } == "accepted")
    #expect(changed { $0.add("biases", [1], [1]) }.hasPrefix("biases: is no tensor of family fm"))
    #expect(changed { $0.header[2].name = "x"; $0.add("bias", [2], [1, 2]) }.hasPrefix("x: is no tensor"))
    #expect(changed { $0.header.remove(at: 2); $0.add("bias", [2], [1, 2]) }.hasPrefix("bias: has the shape [2]"))
    #expect(changed { $0.header.remove(at: 1); $0.add("factors.weight", [4, 3], Self.ramp(12)) }.hasPrefix("factors.weight: has the shape"))
    #expect(changed { $0.header.remove(at: 1); $0.add("factors.weight", [15], Self.ramp(15)) }.hasPrefix("factors.weight: has the shape"))
    #expect(changed { $0.header[0].text = $0.header[0].text.replacingOccurrences(of: "F32", with: "I32") }.hasPrefix("linear.weight: has elements of INT32"))
    func told(_ from: String, _ to: String) -> String { Self.problem(Self.fmBytes(), Self.fm.replacingOccurrences(of: from, with: to)) }
    #expect(told("factors: 3", "factors: 4").hasPrefix("family.fm.factors: is 4"))
    #expect(told("factors: 3", "rows: 6").hasPrefix("family.fm.rows: is 6"))
    #expect(told("factors: 3", "outputs: 2").hasPrefix("family.fm.outputs: is 2"))
    #expect(told("factors: 3", "factor: 3").contains("unknown key"))
    #expect(told("factors: 3", "link: tan").contains("did you mean") || told("factors: 3", "link: tan").contains("expected identity"))
    #expect(told("loss: logistic\n", "").contains("loss"))
    #expect(told("fm:", "forest:").contains("unknown key"))
    #expect(told("{fm: {factors: 3}}", "fm") == "accepted")
    #expect(told("{fm: {factors: 3}}", "{fm: {}, dlrm: {}}").contains("expected one of fm and dlrm"))
    #expect(told("{fm: {factors: 3}}", "linear").contains("expected"))
    #expect(told("country: categorical", "country: sometimes").contains("country"))
    #expect(Self.problem(Self.fmBytes(), "family: [").hasPrefix("specification: "))
  }

  // MARK: DLRM

  static let dlrm = """
    model: clicks
    family: {dlrm: {pooling: mean, dense: 1}}
    loss: logistic
    features:
      country: categorical
      age: {type: numeric, divide: 100}
      tags: {type: categorical, values: 3}
    crosses:
      - [country, tags]
    """

  static func dlrmBytes(_ change: (inout SafetensorsBytes) -> Void = { _ in }) -> [UInt8] {
    var source = SafetensorsBytes()
    source.add("embeddings.country.weight", [5, 4], ramp(20))
    source.add("embeddings.tags.weight", [3, 4], ramp(12, 1), dtype: "BF16")
    source.add("embeddings.country*tags.weight", [2, 4], ramp(8, -1))
    source.add("bottom.0.weight", [6, 2], ramp(12))
    source.add("bottom.0.bias", [6], ramp(6))
    source.add("bottom.1.weight", [4, 6], ramp(24))
    source.add("top.0.weight", [1, 10], ramp(10))
    source.add("top.0.bias", [1], [0.5])
    change(&source)
    return source.bytes
  }

  @Test func aDLRMIsItsTensors() throws {
    guard case .dlrm(let model) = try Self.read(Self.dlrmBytes(), Self.dlrm).body else {
      Issue.record("no DLRM")
      return
    }
    #expect(model.tableRows == [5, 3, 2] && model.pooling == .mean && model.link == .sigmoid && model.denseCount == 1)
    #expect(model.inputs.map(\.name) == ["dense", "numerics"] && model.inputs[1].columns == ["age"])
    // A layer without a bias has none.
    #expect(model.bottom[1].bias == [0, 0, 0, 0] && model.top[0].weights == Self.ramp(10))
    var values = [Float](repeating: 0, count: 4)
    model.embeddings.row(9, values: &values)
    #expect(values == Array(Self.ramp(8, -1)[4...]))
    let narrow = Self.dlrm.replacingOccurrences(of: "pooling: mean", with: "layers: int8, precision: int8, link: identity")
    guard case .dlrm(let quantized) = try Self.read(Self.dlrmBytes(), narrow).body else { return }
    #expect(quantized.precision == .int8 && quantized.embeddings.precision == .int8 && quantized.link == .identity && quantized.pooling == .sum)
  }

  @Test func towersThatDoNotFitAreNamed() {
    func changed(_ change: (inout SafetensorsBytes) -> Void) -> String { Self.problem(Self.dlrmBytes(change), Self.dlrm) }
    func without(_ name: String, _ then: (inout SafetensorsBytes) -> Void = { _ in }) -> String {
      changed {
        $0.header.removeAll { $0.name == name }
        then(&$0)
      }
    }
    #expect(changed { _ in } == "accepted")
    #expect(without("embeddings.tags.weight").hasPrefix("embeddings.tags.weight: there is no such tensor"))
    #expect(without("embeddings.tags.weight") { $0.add("embeddings.tags.weight", [3, 5], Self.ramp(15)) }.hasPrefix("embeddings.tags.weight: has rows of 5"))
    #expect(without("embeddings.tags.weight") { $0.add("embeddings.tags.weight", [0, 4], []) }.hasPrefix("embeddings.tags.weight: has 0 rows"))
    #expect(without("bottom.0.weight").hasPrefix("bottom.0.weight: there is no such tensor"))
    #expect(without("bottom.0.weight") { $0.add("bottom.0.weight", [6, 3], Self.ramp(18)) }.hasPrefix("bottom.0.weight: takes 3"))
    #expect(without("bottom.1.weight").hasPrefix("bottom.0.weight: gives 6"))
    #expect(without("bottom.0.bias") { $0.add("bottom.0.bias", [5], Self.ramp(5)) }.hasPrefix("bottom.0.bias: has the shape"))
    #expect(without("top.0.weight") { $0.add("top.0.weight", [1, 11], Self.ramp(11)) }.hasPrefix("top.0.weight: takes 11"))
    #expect(changed { $0.add("bottom.3.weight", [1, 1], [1]) }.hasPrefix("bottom.3.weight: is no tensor of family dlrm"))
    #expect(Self.problem(Self.dlrmBytes(), Self.dlrm.replacingOccurrences(of: "dense: 1", with: "dense: 2")).hasPrefix("bottom.0.weight: takes 2"))
    let noNumbers = Self.dlrm.replacingOccurrences(of: "dense: 1", with: "dense: 0").replacingOccurrences(of: "  age: {type: numeric, divide: 100}\n", with: "")
    #expect(Self.problem(Self.dlrmBytes(), noNumbers).hasPrefix("dense: there are no numbers"))
  }

  // MARK: Damage

  @Test func damagedFilesAreRefusedOrRead() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var state = seed
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    var refused = 0
    for (whole, specification) in [(Self.fmBytes(), Self.fm), (Self.dlrmBytes(), Self.dlrm)] {
      for length in stride(from: 0, to: whole.count, by: 37) {
        #expect(Self.problem(Array(whole[..<length]), specification) != "accepted")
      }
      for _ in 0..<150 {
        var bytes = whole
        // Mostly in the header, where it hurts.
        for _ in 0...next(3) { bytes[next(next(4) == 0 ? bytes.count : min(600, bytes.count))] = UInt8(truncatingIfNeeded: next(256)) }
        if Self.problem(bytes, specification) != "accepted" { refused += 1 }
      }
    }
    #expect(refused > 100, "seed \(seed)")
  }
}
