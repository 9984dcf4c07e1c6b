import Events
import Model
import Testing

enum DenseInputs {
  /// As a forest is served: four named numbers, NaN for what is not given.
  static let trees = ModelSpecification(
    name: "trees", family: .loaded,
    features: [.tensor("input", TensorPlace(shape: [4], offset: 0, columns: ["a", "b", "c", "d"], absent: .nan))])

  /// The same, with names of categories: texts for `a`, numbers for `c` (multiples of a half) and `d`.
  static func named() throws -> ModelSpecification {
    var named = trees
    named.features[0].tensor?.categories = [
      ColumnCategories(column: 0, names: try CategoryNames((0..<32).map { .text("v\($0)") })),
      ColumnCategories(column: 2, names: try CategoryNames((0..<100).map { .number(Double($0) / 2) })),
      ColumnCategories(column: 3, names: try CategoryNames([.integer(7), .text("seven"), .boolean(true)])),
    ]
    return named
  }

  /// Tensors of several types, none of which may be left out but the last.
  static let mixed = ModelSpecification(
    name: "mixed", family: .loaded,
    features: [
      .tensor("x", TensorPlace(shape: [2, 3], offset: 0, refusesNonFinite: true)),
      .tensor("n", TensorPlace(element: .int64, shape: [2], offset: 24)),
      .tensor("t", TensorPlace(element: .text, shape: [1], offset: 40)),
      .tensor("f", TensorPlace(element: .boolean, shape: [], offset: 48, absent: .value(1))),
    ])

  /// As DLRM is served: hashed categories, and numbers that stand in the row after their transforms.
  static let hashed = ModelSpecification(
    name: "dlrm", family: .loaded,
    features: [
      .categorical("site"), Feature(name: "age", kind: .numeric, transform: NumericTransform(divide: 10), tensor: TensorPlace(offset: 0, absent: .value(0))),
      .categorical("ad", valuesMax: 3),
      Feature(name: "price", kind: .numeric, transform: NumericTransform(log1p: true), tensor: TensorPlace(offset: 4, refusesNonFinite: true)),
    ],
    crosses: [Cross(["site", "ad"])])
}

@Suite("Dense inputs of models from files") struct DenseInputTests {
  private typealias Input = V2Request.Input

  private func decode(_ specification: ModelSpecification, _ bytes: [UInt8]) -> (batch: RowBatch, problem: EventProblem?) {
    let batch = RowBatch(for: specification, rowCapacity: 1)
    let decoder = EventDecoder(specification: specification)
    let problem = bytes.withUnsafeBytes { payload in
      decoder.decode(payload, contentType: nil, into: batch).ok ? nil : decoder.problem()
    }
    return (batch, problem)
  }

  private func floats(_ batch: RowBatch, count: Int, from offset: Int = 0) -> [[Float]] {
    guard let dense = batch.dense else { return [] }
    return (0..<batch.rowCount).map { row in
      (0..<count).map { dense.load(fromByteOffset: row * batch.denseRowBytes + offset + $0 * 4, as: Float.self) }
    }
  }

  private func event(_ features: String) -> [UInt8] { utf8("{\"id\":\"e\",\"features\":{\(features)}}") }

  @Test func theSpecificationsAreValidAndReadBack() throws {
    for specification in [DenseInputs.trees, DenseInputs.mixed, DenseInputs.hashed] {
      #expect(specification.problems().isEmpty, "\(specification.problems())")
      #expect(try ModelSpecification(canonicalBytes: specification.canonicalBytes) == specification)
    }
    #expect(DenseInputs.trees.denseRowBytes == 16)
    #expect(DenseInputs.mixed.denseRowBytes == 56)
    #expect(DenseInputs.hashed.denseRowBytes == 8)
  }

  @Test func wrongPlacesAreNamed() {
    func problems(_ place: TensorPlace) -> String {
      ModelSpecification(name: "m", family: .loaded, features: [.tensor("x", place), .tensor("y", TensorPlace(shape: [2], offset: 0))])
        .problems().map(\.description).joined(separator: "\n")
    }
    #expect(problems(TensorPlace(shape: [1], offset: 8)) == "")
    #expect(problems(TensorPlace(shape: [2], offset: 4)).contains("overlaps"))
    #expect(problems(TensorPlace(shape: [2], offset: 9)).contains("begins at byte 9"))
    #expect(problems(TensorPlace(shape: [0], offset: 8)).contains("[0]"))
    #expect(problems(TensorPlace(shape: [.max, .max], offset: 8)).contains("rows have at most"))
    #expect(problems(TensorPlace(shape: [2], offset: 8, columns: ["a"])).contains("1 names of columns for 2 elements"))
    #expect(problems(TensorPlace(shape: [1], offset: 8, columns: ["y"])).contains("that name is taken"))
    #expect(problems(TensorPlace(element: .int32, offset: 8, absent: .nan)).contains("NaN"))
    #expect(problems(TensorPlace(element: .int8, offset: 8, absent: .value(1000))).contains("INT8 does not hold"))
    #expect(problems(TensorPlace(element: .bfloat16, offset: 8)).contains("BF16"))
    let learned = ModelSpecification(name: "m", family: .linear(loss: .logistic), features: [.tensor("x", TensorPlace(offset: 0))])
    #expect(learned.problems().description.contains("only models from files"))
  }

  @Test func theWholeTensorTheColumnsAndAnEventGiveTheSameRow() {
    let whole = decode(DenseInputs.trees, V2Request(id: "r", inputs: [
      Input(name: "input", datatype: "FP32", shape: [2, 4], raw: V2Request.rawFloats([1, .nan, 2.5, 1, 5, 6, 7, 8]))
    ]).bytes)
    #expect(whole.problem == nil)
    #expect(floats(whole.batch, count: 4).description == "[[1.0, nan, 2.5, 1.0], [5.0, 6.0, 7.0, 8.0]]")
    let columns = decode(DenseInputs.trees, V2Request(id: "r", inputs: [
      Input(name: "c", datatype: "FP64", shape: [2, 1], raw: [2.5, 7].flatMap { V2Request.little($0.bitPattern) }),
      Input(name: "a", datatype: "INT64", shape: [2], raw: V2Request.little(Int64(1)) + V2Request.little(Int64(5))),
      Input(name: "d", datatype: "BOOL", shape: [2, 1], raw: [7, 0]),
    ]).bytes)
    #expect(columns.problem == nil)
    #expect(floats(columns.batch, count: 4).description == "[[1.0, nan, 2.5, 1.0], [5.0, nan, 7.0, 0.0]]")
    for features in [#""a":1,"c":2.5,"d":true"#, #""input":[1,null,2.5,1]"#, #""d":1,"b":null,"c":2.5,"a":1,"other":7"#] {
      let one = decode(DenseInputs.trees, event(features))
      #expect(one.problem == nil, "\(features)")
      #expect(floats(one.batch, count: 4).description == "[[1.0, nan, 2.5, 1.0]]", "\(features)")
    }
    let nothing = decode(DenseInputs.trees, event(""))
    #expect(floats(nothing.batch, count: 4).description == "[[nan, nan, nan, nan]]")
  }

  @Test func everyDatatypeBecomesFloatsRawAndListed() {
    func list(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] { V2Request.field(number, bytes) }
    let twos: [(String, [UInt8], [UInt8]?)] = [
      ("INT8", [2], list(2, [2])), ("INT16", [2, 0], list(2, [2])), ("INT32", [2, 0, 0, 0], list(2, [2])),
      ("INT64", V2Request.little(Int64(2)), list(3, [2])), ("UINT8", [2], list(4, [2])), ("UINT16", [2, 0], list(4, [2])),
      ("UINT32", [2, 0, 0, 0], list(4, [2])), ("UINT64", V2Request.little(Int64(2)), list(5, [2])), ("FP16", [0, 0x40], nil),
      ("BF16", [0, 0x40], nil), ("FP32", V2Request.rawFloats([2]), list(6, V2Request.rawFloats([2]))),
      ("FP64", V2Request.little(2.0.bitPattern), list(7, V2Request.little(2.0.bitPattern))),
    ]
    for (datatype, raw, contents) in twos {
      for input in [Input(name: "b", datatype: datatype, shape: [1, 1], raw: raw)]
        + (contents.map { [Input(name: "b", datatype: datatype, shape: [1, 1], contents: $0)] } ?? [])
      {
        let decoded = decode(DenseInputs.trees, V2Request(id: "r", inputs: [input]).bytes)
        #expect(decoded.problem == nil, "\(input)")
        #expect(floats(decoded.batch, count: 2).first?[1] == 2, "\(input)")
      }
    }
  }

  @Test func tensorsOfSeveralTypes() throws {
    let inputs = [
      Input(name: "x", datatype: "FP32", shape: [2, 2, 3], raw: V2Request.rawFloats((0..<12).map { Float($0) })),
      Input(name: "n", datatype: "INT32", shape: [2, 2], raw: [1, 2, 3, -4].flatMap { V2Request.little(Int32($0)) }),
      Input(name: "t", datatype: "BYTES", shape: [2, 1], raw: V2Request.rawTexts(["red", ""])),
    ]
    let (batch, problem) = decode(DenseInputs.mixed, V2Request(id: "r", inputs: inputs).bytes)
    #expect(problem == nil)
    #expect(floats(batch, count: 6) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    let dense = try #require(batch.dense)
    #expect((0..<2).map { dense.load(fromByteOffset: 24 + $0 * 8, as: Int64.self) } == [1, 2])
    #expect((0..<2).map { dense.load(fromByteOffset: 56 + 24 + $0 * 8, as: Int64.self) } == [3, -4])
    #expect(dense.load(fromByteOffset: 40, as: UInt64.self) == RowID.text("red"))
    #expect(dense.load(fromByteOffset: 56 + 40, as: UInt64.self) == RowID.text(""))
    #expect([48, 56 + 48].map { dense.load(fromByteOffset: $0, as: UInt8.self) } == [1, 1], "what is absent")
    let same = decode(DenseInputs.mixed, event(#""x":[0,1,2,3,4,5],"n":[1,2],"t":"red""#))
    #expect(same.problem == nil)
    let one = try #require(same.batch.dense)
    // The padding behind the flag is nobody's.
    #expect((0..<49).allSatisfy { one.load(fromByteOffset: $0, as: UInt8.self) == dense.load(fromByteOffset: $0, as: UInt8.self) })
  }

  @Test func whatCannotBeAnElementIsRefused() {
    func refused(_ specification: ModelSpecification, _ inputs: [V2Request.Input]) -> EventProblem? {
      let (batch, problem) = decode(specification, V2Request(id: "r", inputs: inputs).bytes)
      #expect(batch.rowCount == 0)
      return problem
    }
    func whole(_ datatype: String, _ raw: [UInt8], shape: [Int64] = [1, 4]) -> [V2Request.Input] {
      [Input(name: "input", datatype: datatype, shape: shape, raw: raw)]
    }
    let big = (0..<4).flatMap { _ in V2Request.little(Int64(1 << 24)) }
    #expect(refused(DenseInputs.trees, whole("INT64", big))?.reason == .numberOutOfRange)
    let huge = (0..<4).flatMap { _ in V2Request.little(1e300.bitPattern) }
    #expect(refused(DenseInputs.trees, whole("FP64", huge))?.reason == .notFinite)
    #expect(refused(DenseInputs.trees, whole("BYTES", V2Request.rawTexts(["a", "b", "c", "d"])))?.reason == .wrongType)
    #expect(refused(DenseInputs.trees, whole("FP32", V2Request.rawFloats([1, 2, 3]), shape: [1, 3]))?.reason == .invalidShape)
    #expect(refused(DenseInputs.trees, whole("FP32", V2Request.rawFloats([1, 2, 3, 4]), shape: [4]))?.reason == .invalidShape)
    let twice = whole("FP32", V2Request.rawFloats([1, 2, 3, 4])) + [Input(name: "b", datatype: "FP32", shape: [1, 1], raw: V2Request.rawFloats([1]))]
    #expect(refused(DenseInputs.trees, twice)?.reason == .duplicateFeature)
    #expect(refused(DenseInputs.trees, twice.reversed())?.reason == .duplicateFeature)

    let x = Input(name: "x", datatype: "FP32", shape: [1, 6], raw: V2Request.rawFloats([0, 1, 2, 3, 4, 5]))
    let n = Input(name: "n", datatype: "FP64", shape: [1, 2], raw: [1.0, 2].flatMap { V2Request.little($0.bitPattern) })
    let t = Input(name: "t", datatype: "BYTES", shape: [1, 1], raw: V2Request.rawTexts(["a"]))
    #expect(decode(DenseInputs.mixed, V2Request(id: "r", inputs: [x, n, t]).bytes).problem == nil)
    let missing = refused(DenseInputs.mixed, [x, t])
    #expect(missing?.reason == .missingFeature && missing?.field == "n")
    var wrong = x
    wrong.raw = V2Request.rawFloats([0, 1, 2, .infinity, 4, 5])
    #expect(refused(DenseInputs.mixed, [wrong, n, t])?.reason == .notFinite)
    var fraction = n
    fraction.raw = [1.0, 2.5].flatMap { V2Request.little($0.bitPattern) }
    #expect(refused(DenseInputs.mixed, [x, fraction, t])?.reason == .numberOutOfRange)

    func bad(_ specification: ModelSpecification, _ features: String) -> EventProblem? {
      let (batch, problem) = decode(specification, event(features))
      #expect(batch.rowCount == 0)
      return problem
    }
    #expect(bad(DenseInputs.trees, #""input":[1,2,3]"#)?.reason == .invalidShape)
    #expect(bad(DenseInputs.trees, #""input":[1,2,3,4,5]"#)?.reason == .tooManyValues)
    #expect(bad(DenseInputs.trees, #""input":[1,2,3,4],"b":1"#)?.reason == .duplicateFeature)
    #expect(bad(DenseInputs.trees, #""b":"red""#)?.reason == .wrongType)
    #expect(bad(DenseInputs.trees, #""b":[1,2]"#)?.reason == .tooManyValues)
    let absent = bad(DenseInputs.mixed, #""x":[0,1,2,3,4,5],"t":"red""#)
    #expect(absent?.reason == .missingFeature)
    #expect(bad(DenseInputs.mixed, #""x":[0,1,2,null,4,5],"n":[1,2],"t":"red""#)?.reason == .missingFeature)
    #expect(bad(DenseInputs.mixed, #""x":[0,1,2,3,4,5],"n":[1,2.5],"t":"red""#)?.reason == .numberOutOfRange)
  }

  @Test func hashedFeaturesKeepTheirFieldAndNumbersStandInTheRow() throws {
    let (batch, problem) = decode(DenseInputs.hashed, event(#""ad":["x","y"],"price":0,"site":"s","age":42"#))
    #expect(problem == nil)
    #expect(floats(batch, count: 2) == [[4.2, 0]])
    let fields = try #require(batch.fields)
    #expect((0..<batch.entryCount).map { fields[$0] } == [0, 2, 2, 4, 4], "site, ads, crosses, and no bias")
    #expect(batch.ids[0] == RowID.categorical(UnsafeRawBufferPointer(start: nil, count: 0), seed: 0) || batch.ids[0] != 0)
    let request = V2Request(id: "r", inputs: [
      Input(name: "site", datatype: "BYTES", shape: [2, 1], raw: V2Request.rawTexts(["s", "s2"])),
      Input(name: "price", datatype: "FP32", shape: [2, 1], raw: V2Request.rawFloats([0, 1])),
      Input(name: "ad", datatype: "BYTES", shape: [2, 2], raw: V2Request.rawTexts(["x", "y", "z", ""])),
      Input(name: "age", datatype: "INT64", shape: [2, 1], raw: V2Request.little(Int64(42)) + V2Request.little(Int64(10))),
    ])
    let many = decode(DenseInputs.hashed, request.bytes)
    #expect(many.problem == nil)
    #expect(floats(many.batch, count: 2)[0] == [4.2, 0] && floats(many.batch, count: 2)[1][0] == 1)
    #expect(rows(of: many.batch)[0] == rows(of: batch)[0])
    #expect(many.batch.rowEnds[1] == 8)
    let without = decode(DenseInputs.hashed, event(#""site":"s","age":1"#))
    #expect(without.problem?.reason == .missingFeature)
    #expect(decode(DenseInputs.hashed, event(#""site":"s","price":-1"#)).problem?.reason == .notFinite)
  }

  @Test func namesOfCategoriesInEveryForm() throws {
    let named = try DenseInputs.named()
    for (features, expected) in [
      (#""a":"v7","b":1.5,"c":2.5,"d":7"#, "7.0, 1.5, 5.0, 0.0"), (#""a":"v32","b":1.5,"c":2.25,"d":"eight""#, "nan, 1.5, nan, nan"),
      (#""a":3,"b":1,"c":"2.5","d":"seven""#, "3.0, 1.0, 5.0, 1.0"), (#""a":["v31"],"b":1,"c":3,"d":true"#, "31.0, 1.0, 6.0, 2.0"),
      (#""a":null,"d":"true""#, "nan, nan, nan, 2.0"), (#""input":["v5",1,4,2]"#, "5.0, 1.0, 4.0, 2.0"), (#""input":[5,1,"4",null]"#, "5.0, 1.0, 8.0, nan"),
    ] {
      let (batch, problem) = decode(named, event(features))
      #expect(problem == nil, "\(features): \(String(describing: problem))")
      #expect(floats(batch, count: 4).description == "[[\(expected)]]", "\(features)")
    }
    // As protobuf.
    let writer = EventWriter(form: .protobuf)
    writer.begin(id: "e")
    writer.text("a", "v7")
    writer.number("c", 2.5)
    writer.integer("d", 7)
    let proto = decode(named, Array(writer.finish()))
    #expect(proto.problem == nil && floats(proto.batch, count: 4).description == "[[7.0, nan, 5.0, 0.0]]")

    func little(_ values: [Double]) -> [UInt8] { values.flatMap { V2Request.little($0.bitPattern) } }
    func v2(_ inputs: Input...) -> String {
      let (batch, problem) = decode(named, V2Request(id: "r", inputs: inputs).bytes)
      return problem.map { "\($0.reason) \($0.field)" } ?? floats(batch, count: 4).map { $0.map { "\($0)" }.joined(separator: " ") }.joined(separator: ", ")
    }
    #expect(v2(
      Input(name: "a", datatype: "BYTES", shape: [2, 1], raw: V2Request.rawTexts(["v1", "w"])),
      Input(name: "c", datatype: "FP64", shape: [2, 1], raw: little([2.5, 2.25])),
      Input(name: "d", datatype: "INT64", shape: [2], raw: V2Request.little(Int64(7)) + V2Request.little(Int64(8)))) == "1.0 nan 5.0 0.0, nan nan nan nan")
    // Codes of texts, in any datatype; numbers by what they are worth, in any datatype.
    #expect(v2(
      Input(name: "a", datatype: "FP32", shape: [1, 1], raw: V2Request.rawFloats([9])),
      Input(name: "c", datatype: "FP32", shape: [1, 1], raw: V2Request.rawFloats([9])),
      Input(name: "d", datatype: "BOOL", shape: [1, 1], raw: [1])) == "9.0 nan 18.0 2.0")
    #expect(v2(
      Input(name: "a", datatype: "INT64", shape: [1, 1], contents: V2Request.field(3, [9])),
      Input(name: "c", datatype: "BYTES", shape: [1, 1], contents: V2Request.field(8, utf8("0.5"))),
      Input(name: "d", datatype: "UINT64", shape: [1, 1], contents: V2Request.field(5, V2Request.varint(.max)))) == "9.0 nan 1.0 nan")
    // The whole tensor takes codes, whatever the names.
    #expect(v2(Input(name: "input", datatype: "FP32", shape: [1, 4], raw: V2Request.rawFloats([1, 2, 3, 2]))) == "1.0 2.0 3.0 2.0")
    #expect(v2(Input(name: "input", datatype: "INT32", shape: [1, 4], raw: [1, 2, 3, 2].flatMap { V2Request.little(Int32($0)) })) == "1.0 2.0 3.0 2.0")

    // What is no name.
    #expect(v2(Input(name: "b", datatype: "BYTES", shape: [1, 1], raw: V2Request.rawTexts(["v1"]))) == "wrongType b")
    #expect(v2(Input(name: "a", datatype: "BOOL", shape: [1, 1], raw: [1])) == "wrongType a")
    #expect(v2(Input(name: "input", datatype: "BYTES", shape: [1, 4], raw: V2Request.rawTexts(["v1", "v1", "1", "7"]))) == "wrongType input")
    for (features, field, words) in [(#""b":"v1""#, "b", "another type"), (#""a":true"#, "a", "the name of a category, or its code"), (#""input":["v1","v1"]"#, "input", "another type")] {
      let problem = decode(named, event(features)).problem
      #expect(problem?.reason == .wrongType && problem?.field == field && problem?.message.contains(words) == true, "\(String(describing: problem))")
    }
  }

  @Test func plansAreRememberedByShape() {
    let decoder = EventDecoder(specification: DenseInputs.trees)
    let batch = RowBatch(for: DenseInputs.trees)
    for round in 0..<20 {
      let rows = 1 + round % 3
      let input = Input(
        name: round % 2 == 0 ? "input" : "c", datatype: "FP32", shape: [Int64(rows), round % 2 == 0 ? 4 : 1],
        raw: V2Request.rawFloats((0..<rows * (round % 2 == 0 ? 4 : 1)).map { Float($0 + round) }))
      batch.removeAll()
      let decoded = V2Request(id: "r", inputs: [input]).bytes.withUnsafeBytes { decoder.decode($0, contentType: nil, into: batch).rowCount }
      #expect(decoded == rows)
      let expected: Float = Float(round) + (round % 2 == 0 ? 2 : 0)
      #expect(floats(batch, count: 4).first?[2] == expected, "round \(round)")
      #expect(floats(batch, count: 4).first?[0].isNaN == (round % 2 == 1))
    }
  }
}
