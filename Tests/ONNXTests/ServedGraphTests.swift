import AllocationThresholds
import Families
import Kernels
import Model
import Testing

@testable import Bundles
@testable import ONNX

@Suite struct ServedGraphTests {
  /// A perceptron of three layers with everything that fusion knows around them.
  static func perceptron(width: Int = 6, seed: UInt64 = 7, rows: ModelMaker.Size = .named("N")) -> ModelMaker {
    var numbers = Numbers(seed: seed)
    var maker = ModelMaker(version: 14)
    maker.input("x", .float32, [rows, .fixed(width)])
    maker.floats("mean", [width], numbers.floats(width))
    maker.node("Sub", ["x", "mean"], ["centered"])
    maker.floats("w0", [9, width], numbers.floats(9 * width))
    maker.floats("b0", [9], numbers.floats(9))
    maker.node("Gemm", ["centered", "w0", "b0"], ["h0"], ["transB": .int(1)])
    for (name, offset) in [("gamma", 1.5), ("beta", 0), ("mu", 0), ("variance", 2)] as [(String, Float)] {
      maker.floats(name, [9], numbers.floats(9).map { $0 + offset })
    }
    maker.node("BatchNormalization", ["h0", "gamma", "beta", "mu", "variance"], ["n0"])
    maker.node("Relu", ["n0"], ["a0"])
    maker.floats("w1", [9, 5], numbers.floats(45))
    maker.floats("b1", [5], numbers.floats(5))
    maker.node("MatMul", ["a0", "w1"], ["h1"])
    maker.node("Add", ["b1", "h1"], ["s1"])
    // GELU as PyTorch writes it.
    maker.floats("root2", [], [Float(2).squareRoot()])
    maker.floats("one", [], [1])
    maker.floats("half", [], [0.5])
    maker.node("Div", ["s1", "root2"], ["d1"])
    maker.node("Erf", ["d1"], ["e1"])
    maker.node("Add", ["e1", "one"], ["f1"])
    maker.node("Mul", ["s1", "f1"], ["g1"])
    maker.node("Mul", ["g1", "half"], ["a1"])
    maker.floats("w2", [5, 2], numbers.floats(10))
    maker.node("MatMul", ["a1", "w2"], ["h2"])
    maker.node("Sigmoid", ["h2"], ["y"])
    maker.output("y")
    return maker
  }

  static func batch(_ model: ONNXGraphModel, _ values: [[Float]]) -> RowBatch {
    let batch = RowBatch(rowCapacity: max(1, values.count), entryCapacity: 1, denseRowBytes: model.denseRowBytes, hasFields: false)
    for row in values {
      row.withUnsafeBytes { if let base = $0.baseAddress { batch.reserveDenseRow().copyMemory(from: base, byteCount: $0.count) } }
      batch.endRow()
    }
    return batch
  }

  static func score(_ scorer: Scorer, _ batch: RowBatch, _ output: Int = 0) -> [Float] {
    scorer.score(batch)
    let count = batch.rowCount * scorer.model.outputs[output].count
    return Array(UnsafeBufferPointer(start: scorer.outputs[output].assumingMemoryBound(to: Float.self), count: count))
  }

  @Test func fusedGivesTheSameNumbers() throws {
    let model = try Self.perceptron().read()
    let fused = try ONNXGraphModel(model: model)
    let plain = try ONNXGraphModel(model: model, options: ONNXOptions(isFusing: false))
    #expect(fused.stepNames == ["FloatBinaryKernel", "DenseKernel"])
    #expect(plain.stepNames.count == 13)
    #expect(!fused.isRowByRow && fused.denseRowBytes == 24 && fused.outputs == [OutputTensor(name: "y", shape: [2])])
    var numbers = Numbers(seed: 3)
    for rows in [1, 3, 70] {
      let values = (0..<rows).map { _ in numbers.floats(6) }
      let a = Self.score(fused.makeScorer(rowsMax: 1), Self.batch(fused, values))
      let b = Self.score(plain.makeScorer(rowsMax: 1), Self.batch(plain, values))
      for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-5) }
    }
  }

  /// One scorer, batches of many sizes in turn: each row's numbers are those that it has alone.
  @Test(arguments: [true, false]) func plansAreReused(isFusing: Bool) throws {
    let model = try ONNXGraphModel(model: try Self.perceptron().read(), options: ONNXOptions(isFusing: isFusing))
    let scorer = model.makeScorer(rowsMax: 2)
    var numbers = Numbers(seed: 11)
    let rows = (0..<300).map { _ in numbers.floats(6) }
    let alone = model.makeScorer(rowsMax: 1)
    let expected = rows.map { Self.score(alone, Self.batch(model, [$0])) }
    for count in [1, 7, 300, 2, 64, 299] {
      let scores = Self.score(scorer, Self.batch(model, Array(rows[..<count])))
      for row in 0..<count { for place in 0..<2 { #expect(abs(scores[2 * row + place] - expected[row][place]) < 1e-6) } }
    }
  }

  @Test func aBatchOfOneIsRewrittenOrRunsRowByRow() throws {
    var numbers = Numbers(seed: 5)
    let rows = (0..<5).map { _ in numbers.floats(6) }
    let free = try ONNXGraphModel(model: try Self.perceptron().read())
    let fixed = try ONNXGraphModel(model: try Self.perceptron(rows: .fixed(1)).read())
    #expect(!fixed.isRowByRow)
    let expected = Self.score(free.makeScorer(rowsMax: 8), Self.batch(free, rows))
    #expect(Self.score(fixed.makeScorer(rowsMax: 8), Self.batch(fixed, rows)) == expected)

    // A concatenation along the rows would mix them: row by row.
    var maker = ModelMaker(version: 13)
    maker.input("x", .float32, [.fixed(1), .fixed(4)])
    maker.ints("shape", [2, 2])
    maker.node("Reshape", ["x", "shape"], ["r"])
    maker.floats("w", [2, 2], [1, 2, 3, 4])
    maker.node("MatMul", ["r", "w"], ["m"])
    maker.ints("back", [1, 4])
    maker.node("Reshape", ["m", "back"], ["y"])
    maker.output("y")
    let alone = try ONNXGraphModel(model: try maker.read())
    #expect(alone.isRowByRow && alone.rowByRowReason.contains("node_r"))
    #expect(Self.score(alone.makeScorer(rowsMax: 1), Self.batch(alone, [[1, 0, 0, 1], [1, 1, 2, 2]])) == [1, 2, 3, 4, 4, 6, 8, 12])
  }

  @Test(.enabled(if: AllocationThresholds.areCounted), arguments: [true, false]) func batchesAllocateNothing(isFusing: Bool) throws {
    let model = try ONNXGraphModel(model: try Self.perceptron().read(), options: ONNXOptions(isFusing: isFusing))
    let scorer = model.makeScorer(rowsMax: 8)
    var numbers = Numbers(seed: 13)
    let batches = [1, 5, 8].map { count in Self.batch(model, (0..<count).map { _ in numbers.floats(6) }) }
    for batch in batches { scorer.score(batch) }
    let allocations = AllocationThresholds.ofThread { for index in 0..<100 { scorer.score(batches[index % 3]) } }
    #expect(allocations <= (try #require(try AllocationThresholds()["onnx.score.100-batches"])))
  }

  /// A file may name any output or none: kernels have memory for what they write all the same, when they run and when they are folded.
  @Test(arguments: ["x", "known"]) func outputsMayBeLeftOut(_ input: String) throws {
    let operators: [(name: String, domain: String, inputs: [String], attributes: [String: ModelMaker.Value], outputs: Int)] = [
      ("Relu", "", [], [:], 1), ("Identity", "", [], [:], 1), ("TopK", "", ["two"], [:], 2), ("Dropout", "", [], [:], 2),
      ("LayerNormalization", "", ["known"], [:], 3), ("DynamicQuantizeLinear", "", [], [:], 3), ("Split", "", [], ["axis": .int(1)], 2),
      ("Shape", "", [], [:], 1), ("Cast", "", [], ["to": .int(7)], 1),
      (
        "LinearClassifier", "ai.onnx.ml", [],
        ["coefficients": .floats([1, 2, 3, 4, 4, 3, 2, 1]), "intercepts": .floats([0, 0]), "classlabels_ints": .ints([3, 4])], 2
      ),
    ]
    for operation in operators {
      for named in 0..<(1 << operation.outputs) {
        for listed in 0...operation.outputs where named >> listed == 0 {
          // Split makes as many parts as are listed.
          if operation.name == "Split", listed == 0 { continue }
          var maker = ModelMaker(version: 17)
          maker.input("x", width: 4)
          maker.floats("known", [4], [4, 3, 2, 1])
          maker.ints("two", [2])
          let names = (0..<listed).map { named >> $0 & 1 == 1 ? "out\($0)" : "" }
          let first = operation.domain.isEmpty && operation.name != "Split" ? input : "x"
          maker.node(operation.name, [first] + operation.inputs, names, domain: operation.domain, operation.attributes)
          maker.node("Neg", ["x"], ["y"])
          maker.output("y")
          // Outputs of the graph keep the node alive.
          for name in names where !name.isEmpty && first == "x" { maker.output(name) }
          let made = Result { try ONNXGraphModel(model: try maker.read()) }
          guard case .success(let model) = made else {
            // A shape belongs to the batch, and so does the scale of all its rows: no outputs for rows.
            #expect(["Shape", "DynamicQuantizeLinear"].contains(operation.name), "\(operation.name) \(names): \(made)")
            continue
          }
          #expect(Self.score(model.makeScorer(rowsMax: 2), Self.batch(model, [[1, 2, 3, 4], [5, 6, 7, 8]])) == [-1, -2, -3, -4, -5, -6, -7, -8])
        }
      }
    }
  }

  @Test func aModelHasInputsWithElements() throws {
    var empty = ModelMaker()
    empty.input("x", width: 0)
    empty.node("Neg", ["x"], ["y"])
    empty.output("y")
    let refused = #expect(throws: ONNXError.self) { try ONNXGraphModel(model: try empty.read()) }
    #expect(refused?.place == "input \"x\"" && refused?.reason.contains("no elements") == true)
    var none = ModelMaker()
    none.floats("c", [1, 1], [1])
    none.node("Neg", ["c"], ["y"])
    none.output("y")
    #expect(throws: ONNXError.self) { try ONNXGraphModel(model: try none.read()) }
  }

  @Test func severalInputsAndChainsOfShapes() throws {
    // reshape(x, [Shape(x)[0], -1]) * scale, with scale an input of one number a row.
    var maker = ModelMaker(version: 13)
    maker.input("flag", .boolean, [.named("N"), .fixed(1)])
    maker.input("x", .float32, [.named("N"), .fixed(2), .fixed(3)])
    maker.input("scale", .float64, [.named("N")])
    maker.node("Shape", ["x"], ["shape"], ["start": .int(0), "end": .int(1)])
    maker.operatorSets[0].version = 15
    maker.ints("k", [6])
    maker.node("Mul", ["shape", "k"], ["all"])
    maker.node("Reshape", ["x", "all"], ["flat"])
    maker.ints("rows", [-1, 6])
    maker.node("Reshape", ["flat", "rows"], ["matrix"])
    maker.node("Cast", ["scale"], ["factor"], ["to": .int(1)])
    maker.ints("axes", [1])
    maker.node("Unsqueeze", ["factor", "axes"], ["column"])
    maker.node("Mul", ["matrix", "column"], ["product"])
    maker.node("Cast", ["flag"], ["f"], ["to": .int(1)])
    maker.node("Add", ["product", "f"], ["y"])
    maker.output("y")
    let model = try ONNXGraphModel(model: try maker.read())
    #expect(!model.isRowByRow, "\(model.rowByRowReason)")
    #expect(model.inputs.map(\.offset) == [0, 4, 32] && model.denseRowBytes == 40)
    let batch = RowBatch(rowCapacity: 2, entryCapacity: 1, denseRowBytes: 40, hasFields: false)
    for row in 0..<2 {
      let dense = batch.reserveDenseRow()
      dense.storeBytes(of: UInt8(row), as: UInt8.self)
      for place in 0..<6 { dense.storeBytes(of: Float(place), toByteOffset: 4 + 4 * place, as: Float.self) }
      dense.storeBytes(of: Double(row + 1), toByteOffset: 32, as: Double.self)
      batch.endRow()
    }
    #expect(Self.score(model.makeScorer(rowsMax: 4), batch) == [0, 1, 2, 3, 4, 5, 1, 3, 5, 7, 9, 11])
  }

  @Test func bundlesHoldTheModel() throws {
    let maker = Self.perceptron(width: 600)
    let model = try ONNXGraphModel(model: try maker.read())
    let writer = BundleWriter(manifest: BundleManifest(name: "p", family: "onnx", outputs: model.outputs))
    try model.write(into: writer)
    #expect(writer.sections.count == 2, "weights of 9 x 600 stand by themselves")
    let bytes = try writer.encoded()
    #expect(bytes.count < maker.bytes.count + 16_384)
    let bundle = try bytes.withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
    let back = try ONNXGraphModel(bundle: bundle)
    #expect(back.inputs == model.inputs && back.outputs == model.outputs)
    var numbers = Numbers(seed: 2)
    let rows = (0..<3).map { _ in numbers.floats(600) }
    #expect(Self.score(back.makeScorer(rowsMax: 3), Self.batch(back, rows)) == Self.score(model.makeScorer(rowsMax: 3), Self.batch(model, rows)))
  }

  @Test(arguments: [MatrixPrecision.bfloat16, .int8]) func layersInNarrowNumbers(precision: MatrixPrecision) throws {
    let onnx = try Self.perceptron().read()
    let exact = try ONNXGraphModel(model: onnx)
    let writer = BundleWriter(manifest: BundleManifest(name: "p", family: "onnx", outputs: exact.outputs))
    try ONNXGraphModel(model: onnx, options: ONNXOptions(precision: precision)).write(into: writer)
    let narrow = try ONNXGraphModel(bundle: try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) })
    #expect(narrow.options.precision == precision)
    var numbers = Numbers(seed: 17)
    let rows = (0..<20).map { _ in numbers.floats(6) }
    let (a, b) = (Self.score(exact.makeScorer(rowsMax: 20), Self.batch(exact, rows)), Self.score(narrow.makeScorer(rowsMax: 20), Self.batch(narrow, rows)))
    #expect(a != b)
    for (x, y) in zip(a, b) { #expect(abs(x - y) < 0.05) }
  }

  @Test func allProblemsAreToldAtOnce() throws {
    var maker = ModelMaker(version: 13)
    maker.input("x", width: 4)
    maker.node("NonZero", ["x"], ["a"], name: "first")
    maker.node("Add", ["a", "x"], ["b"], name: "passed over")
    maker.node("Relu", ["x"], ["c"], name: "second", ["slope": .float(1)])
    maker.node("Loop", ["x"], ["d"], name: "third", ["body": .graph])
    maker.node("MatMul", ["x", "x"], ["e"], name: "fourth")
    maker.node("Sum", ["b", "c", "d", "e"], ["y"])
    maker.output("y")
    let error = #expect(throws: ONNXError.self) { try ONNXGraphModel(model: try maker.read()) }
    let text = error?.description ?? ""
    for part in ["\"first\" (NonZero)", "\"second\" (Relu): attribute slope", "\"third\" (Loop)", "\"fourth\" (MatMul)"] { #expect(text.contains(part), "\(text)") }
    #expect(!text.contains("passed over") && error?.more.count == 3)
  }
}
