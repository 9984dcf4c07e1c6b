import Testing

@testable import Model

@Suite("Names of categories") struct CategoryNamesTests {
  private func code(_ names: CategoryNames, _ text: String) -> Int32 {
    var text = text
    return text.withUTF8 { names.lookup.code(text: UnsafeRawBufferPointer($0)) }
  }

  @Test func aValueHasTheCodeOfTheNameThatItEquals() throws {
    let texts = try CategoryNames([.text("AA"), .text(""), .text("Ünï"), .text("3")])
    #expect(["AA", "", "Ünï", "3", "aa", "AA ", "U"].map { code(texts, $0) } == [0, 1, 2, 3, -1, -1, -1])
    #expect(!texts.hasNumbers && texts.code("Ünï") == 2 && texts.code("zz") == nil)
    #expect(code(texts, "U\u{308}nï") == -1, "bytes, not letters")

    let large: Int64 = 9_007_199_254_740_993
    let numbers = try CategoryNames([.integer(-20), .integer(3), .number(2.5), .number(7), .integer(large), .number(0.1)])
    #expect([-20, 3, 7, large, large - 1, 0].map { numbers.lookup.code(integer: $0) } == [0, 1, 3, 4, -1, -1])
    #expect([-20.0, 3, 2.5, 7, 0.1, Double(Float(0.1)), .nan, .infinity, 1e300].map { numbers.lookup.code(number: $0) } == [0, 1, 2, 3, 5, 5, -1, -1, -1])
    #expect(["-20", "3", "2.5", "7", "7.0", "0.1", "\(large)", "03", ""].map { code(numbers, $0) } == [0, 1, 2, 3, 3, 5, 4, -1, -1])
    #expect(numbers.hasNumbers)

    let booleans = try CategoryNames([.boolean(false), .boolean(true)])
    #expect(["true", "False", "True", "1", "yes"].map { code(booleans, $0) } == [1, 0, 1, -1, -1])
    #expect([0, 1, 2].map { booleans.lookup.code(integer: $0) } == [0, 1, -1])

    // A text that is a name is that one, whatever else would be written so.
    let both = try CategoryNames([.integer(7), .text("7"), .text("x")])
    #expect(both.lookup.code(integer: 7) == 0 && code(both, "7") == 1 && both.hasNumbers)
    // Two names that are one in single precision: the first has it.
    let close = try CategoryNames([.number(0.1), .number(Double(Float(0.1)).nextUp), .number(Double(Float(0.2)))])
    #expect(close.lookup.code(number: Double(Float(0.1))) == 0)
    #expect(try CategoryNames([.number(0.1), .number(Double(Float(0.1)))]).lookup.code(number: Double(Float(0.1))) == 1)
  }

  @Test func namesThatCannotBeToldApartAreRefused() throws {
    func problem(_ names: [CategoryName]) -> CategoryNames.Problem? {
      do {
        _ = try CategoryNames(names)
        return nil
      } catch { return error }
    }
    #expect(problem([]) == .init(index: nil, reason: "no names"))
    #expect(problem([.text("a"), .text("b"), .text("a")]) == .init(index: 2, reason: "it is the same as name 0"))
    #expect(problem([.integer(1), .number(1)])?.index == 1)
    #expect(problem([.integer(1), .boolean(true)])?.index == 1)
    #expect(problem([.number(0), .number(-0.0)])?.index == 1)
    #expect(problem([.number(.nan)])?.reason.contains("no finite number") == true)
    #expect(problem([.text(String(repeating: "x", count: 1024))]) == nil)
    #expect(problem([.text("a"), .text(String(repeating: "x", count: 1025))]) == .init(index: 1, reason: "a name of 1025 bytes, at most 1024 are allowed"))
  }

  /// Against a dictionary, with many names that share slots.
  @Test func manyNames() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var state = seed
    var names: [CategoryName] = []
    var codes: [String: Int32] = [:]
    while names.count < 3000 {
      state = hash64("next", seed: state)
      let text = String(state % 6000, radix: 36)
      guard codes[text] == nil else { continue }
      codes[text] = Int32(names.count)
      names.append(.text(text))
    }
    let found = try CategoryNames(names)
    for value in 0..<6000 {
      let text = String(value, radix: 36)
      #expect(code(found, text) == codes[text] ?? -1, "\(text), seed \(seed)")
    }
    let numbers = try CategoryNames((0..<3000).map { .integer(Int64($0) * 3 - 4000) })
    for value in -4000..<5000 { #expect(numbers.lookup.code(integer: Int64(value)) == ((value + 4000) % 3 == 0 ? Int32((value + 4000) / 3) : -1)) }
  }

  // MARK: Rows

  /// carrier by texts, hour by numbers, day by nothing; and a column between them that takes numbers.
  static func flights(_ element: TensorElement = .float32) throws -> ModelSpecification {
    ModelSpecification(
      name: "flights", family: .loaded,
      features: [
        .tensor("input", TensorPlace(
          element: element, shape: [4], offset: 0, columns: ["carrier", "delay", "hour", "late"], absent: .nan,
          categories: [
            ColumnCategories(column: 0, names: try CategoryNames([.text("AA"), .text("B6"), .text("UA")])),
            ColumnCategories(column: 2, names: try CategoryNames([.integer(6), .integer(12), .integer(18)])),
            ColumnCategories(column: 3, names: try CategoryNames([.boolean(false), .boolean(true)])),
          ]))
      ])
  }

  private func row(_ element: TensorElement = .float32, _ give: (FeatureAssembler) -> Void) throws -> [Double] {
    let specification = try Self.flights(element)
    let assembler = FeatureAssembler(specification: specification)
    let batch = RowBatch(rowCapacity: 1, entryCapacity: 1, denseRowBytes: specification.denseRowBytes, hasFields: false)
    assembler.begin()
    give(assembler)
    guard assembler.finish(into: batch), let dense = batch.dense else { return [] }
    return (0..<4).map {
      element == .float32 ? Double(dense.load(fromByteOffset: $0 * 4, as: Float.self)) : dense.load(fromByteOffset: $0 * 8, as: Double.self)
    }
  }

  @Test(arguments: [TensorElement.float32, .float64]) func columnsTakeNamesAndTheTensorTakesCodes(element: TensorElement) throws {
    #expect(try row(element) { $0.text("carrier", "UA"); $0.number("hour", 12); $0.number("delay", 5); $0.boolean($0.index("late"), true) } == [2, 5, 1, 1])
    // By names in any form; codes where names are texts.
    #expect(try row(element) { $0.number("carrier", 1); $0.text("hour", "18"); $0.number("delay", 5); $0.text("late", "false") } == [1, 5, 2, 0])
    #expect(try row(element) { $0.integer($0.index("hour"), 6); $0.number("carrier", 0); $0.number("delay", 1); $0.number("late", 1) } == [0, 1, 0, 1])
    #expect(try row(element) { $0.unsigned($0.index("hour"), 18); $0.number("carrier", 0); $0.number("delay", 1); $0.number("late", 1) } == [0, 1, 2, 1])
    // What training never saw is missing.
    let unknown = try row(element) { $0.text("carrier", "ZZ"); $0.number("hour", 1); $0.number("delay", 5); $0.unsigned($0.index("late"), .max) }
    #expect(unknown[1] == 5 && [0, 2, 3].allSatisfy { unknown[$0].isNaN })
    // The whole tensor: numbers are codes, texts are names.
    #expect(try row(element) { assembler in
      for value in [1.0, 7, 2, 0] { assembler.number("input", value) }
    } == [1, 7, 2, 0])
    #expect(try row(element) { $0.text("input", "B6"); $0.number("input", 7); $0.integer($0.index("input"), 2); $0.boolean($0.index("input"), true) } == [1, 7, 2, 1])
  }

  @Test func whatIsNoNameIsRefused() throws {
    let assembler = FeatureAssembler(specification: try Self.flights())
    assembler.begin()
    #expect(!assembler.text("delay", "AA") && assembler.problem == .wrongType)
    #expect(assembler.problemText() == "\"delay\" takes numbers (FP32)")
    #expect(!assembler.boolean(assembler.index("carrier"), true) && assembler.problem == .wrongType)
    #expect(assembler.problemText() == "\"carrier\" takes names of categories, or their codes as numbers")
    #expect(assembler.text("carrier", "AA") && !assembler.text("carrier", "AA") && assembler.problem == .tooManyValues)
    #expect(!assembler.number("input", 1) && assembler.problem == .givenTwice)
    assembler.begin()
    #expect(assembler.text("input", "AA") && !assembler.text("input", "AA"), "the second element has no names")
    #expect(assembler.problem == .wrongType)
    assembler.begin()
    for _ in 0..<4 { assembler.number("input", 1) }
    #expect(!assembler.text("input", "AA") && assembler.problem == .tooManyValues)
    #expect(assembler.categories(of: assembler.index("hour"))?.names.count == 3 && assembler.categories(of: assembler.index("delay")) == nil)
    #expect(assembler.categories(of: assembler.index("input")) == nil)
  }

  // MARK: The specification

  @Test func canonicalBytesAreReadBack() throws {
    let specification = try Self.flights()
    #expect(specification.problems() == [])
    let again = try ModelSpecification(canonicalBytes: specification.canonicalBytes)
    #expect(again == specification && again.canonicalBytes == specification.canonicalBytes)
    var other = specification
    other.features[0].tensor?.categories[0].names = try CategoryNames([.text("AA"), .text("UA"), .text("B6")])
    #expect(other.hash != specification.hash && other != specification)
    // Every byte cut off, and every byte another: refused or read, never a trap; what is read is written the same.
    let bytes = specification.canonicalBytes
    for end in bytes.indices { #expect(throws: SpecificationErrors.self) { try ModelSpecification(canonicalBytes: Array(bytes[..<end])) } }
    for at in bytes.indices {
      for change in [1, 0x80, 0xFF] as [UInt8] {
        var damaged = bytes
        damaged[at] ^= change
        if let read = try? ModelSpecification(canonicalBytes: damaged) { #expect(read.canonicalBytes == damaged) }
      }
    }
  }

  @Test func wrongPlacesAreNamed() throws {
    let names = try CategoryNames([.text("a")])
    func problems(_ place: TensorPlace) -> String {
      ModelSpecification(name: "m", family: .loaded, features: [.tensor("x", place)]).problems().map(\.description).joined(separator: "\n")
    }
    #expect(problems(TensorPlace(shape: [2], offset: 0, absent: .nan, categories: [.init(column: 1, names: names)])) == "")
    for columns in [[2], [-1], [1, 0], [1, 1]] {
      let place = TensorPlace(shape: [2], offset: 0, absent: .nan, categories: columns.map { .init(column: $0, names: names) })
      #expect(problems(place).contains("features.x.categories: are for element"))
    }
    for place in [
      TensorPlace(shape: [2], offset: 0, categories: [.init(column: 1, names: names)]),
      TensorPlace(shape: [2], offset: 0, absent: .value(0), categories: [.init(column: 1, names: names)]),
      TensorPlace(element: .int64, shape: [2], offset: 0, categories: [.init(column: 1, names: names)]),
    ] { #expect(problems(place).contains("NaN for what is absent")) }
  }
}
