import Settings
import Testing

/// Messages of everything that is wrong with `yaml` as `read` reads it.
private func problems(
  _ yaml: String, file: String = "f.yaml", _ read: (SettingsNode, inout SettingsReader) -> Void
) -> [String] {
  do {
    let _: Bool = try SettingsReader.read(yaml: yaml, file: file) { node, reader in
      read(node, &reader)
      return true
    }
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

@Suite struct SettingsReaderTests {
  @Test func threeMistakesAreToldTogetherWithTheirPlaces() {
    let yaml = """
      broker:
        port: ninety
        retension: 1GiB
      roles: [trainer, gatway]
      """
    let told = problems(yaml, file: "millrace.yaml") { node, reader in
      reader.keys(node, ["broker", "roles"])
      let broker = reader.section(node, "broker")
      reader.keys(broker, ["port", "retention"])
      _ = reader.int(broker, "port", in: 0...65535, default: 0)
      for role in reader.list(node, "roles") { _ = reader.choice(role, [("gateway", 1), ("trainer", 2)]) }
    }
    #expect(told == [
      "millrace.yaml:2:9: broker.port: expected a whole number from 0 to 65535, found \"ninety\"",
      "millrace.yaml:3:3: broker.retension: unknown key; did you mean \"retention\"?",
      "millrace.yaml:4:18: roles[1]: expected gateway or trainer, found \"gatway\"; did you mean \"gateway\"?",
    ])
  }

  @Test func aFarKeyGetsTheListInsteadOfASuggestion() {
    let told = problems("zzz: 1") { node, reader in reader.keys(node, ["alpha", "beta"]) }
    #expect(told == ["f.yaml:1:1: zzz: unknown key. Known: alpha, beta"])
  }

  @Test func whatIsAbsentTakesTheDefaultAndWhatIsRequiredIsMissed() {
    let told = problems("a:\n") { node, reader in
      #expect(reader.int(node, "a", default: 7) == 7)
      let truth = reader.bool(node, "b", default: true)
      #expect(truth)
      #expect(reader.require(node, "a", "a number") == nil)
      #expect(reader.require(node, "c", "a name") == nil)
    }
    #expect(told.contains { $0.hasSuffix("a: has no value: expected a number") })
    #expect(told.contains { $0.hasSuffix("c: is missing: expected a name") })
  }

  @Test(arguments: [
    ("10ms", 10_000), ("5s", 5_000_000), ("2m", 120_000_000), ("1h", 3_600_000_000), ("30d", 2_592_000_000_000), ("1.5s", 1_500_000),
    ("250us", 250), ("0", 0), ("0s", 0), ("1_000ms", 1_000_000),
  ]) func durations(text: String, microseconds: Int) {
    let told = problems("v: \(text)") { node, reader in
      #expect(reader.microseconds(node, "v", default: -1) == microseconds)
    }
    #expect(told.isEmpty)
  }

  @Test(arguments: ["5", "s", "5 seconds", "-5s", "1e3s", "99999999999999999999d", "9999999999999d", "1.0000001ms", "5S", "[]", ".s", "_5s"])
  func notDurations(text: String) {
    #expect(problems("v: \(text)") { node, reader in _ = reader.microseconds(node, "v", default: 0) }.count == 1)
  }

  @Test(arguments: [("4096", 4096), ("512KiB", 524_288), ("64MiB", 67_108_864), ("2GiB", 2_147_483_648), ("10MB", 10_000_000), ("1.5KiB", 1536)])
  func sizes(text: String, bytes: Int) {
    let told = problems("v: \(text)") { node, reader in #expect(reader.bytes(node, "v", default: -1) == bytes) }
    #expect(told.isEmpty)
  }

  @Test(arguments: ["12QiB", "MiB", "-1", "9999999999TiB", "{}"]) func notSizes(text: String) {
    #expect(problems("v: \(text)") { node, reader in _ = reader.bytes(node, "v", default: 0) }.count == 1)
  }

  @Test(arguments: ["nan", "inf", "-inf", "0x10", "1e999", "one", "1__", "''"]) func notNumbers(text: String) {
    #expect(problems("v: \(text)") { node, reader in _ = reader.double(node, "v", default: 0) }.count == 1)
  }

  @Test func numbersAndBounds() {
    let told = problems("a: 1_000\nb: -2.5e3\nc: 7\nd: 0\ne: 9223372036854775808") { node, reader in
      #expect(reader.int(node, "a", default: 0) == 1000)
      #expect(reader.double(node, "b", default: 0) == -2500)
      #expect(reader.int(node, "c", in: 1...5, default: 3) == 3)
      _ = reader.double(node, "d", in: Double.leastNonzeroMagnitude...Double.greatestFiniteMagnitude, default: 1)
      _ = reader.int(node, "e", default: 0)
    }
    #expect(told == [
      "f.yaml:3:4: c: is 7, expected a whole number from 1 to 5",
      "f.yaml:4:4: d: is 0.0, expected a number above 0",
      "f.yaml:5:4: e: expected a whole number, found \"9223372036854775808\"",
    ])
  }

  @Test func millisecondsRefuseWhatTheyWouldRound() {
    #expect(problems("v: 1500us") { node, reader in _ = reader.milliseconds(node, "v", default: 0) }.count == 1)
    #expect(problems("v: 1h") { node, reader in _ = reader.milliseconds(node, "v", in: 1...1000, default: 0) }.count == 1)
  }

  @Test func wrongShapes() {
    let told = problems("a: [1]\nb: {c: 1}\nd: text") { node, reader in
      _ = reader.string(node, "a", default: "")
      _ = reader.list(node, "b")
      _ = reader.map(node, "d")
      _ = reader.stringMap(node, "a")
    }
    #expect(told.count == 4)
    #expect(told[0].contains("expected a text, found a list"))
  }

  @Test func stringMapsKeepTheirOrder() {
    let told = problems("p: {z.x: 1, a.b: true, m: \"\"}") { node, reader in
      let pairs = reader.stringMap(node, "p")
      #expect(pairs.map(\.key) == ["z.x", "a.b", "m"])
      #expect(pairs.map(\.value) == ["1", "true", ""])
    }
    #expect(told.isEmpty)
  }

  @Test func problemsAreBoundedInNumber() {
    let yaml = (0..<1000).map { "key\($0): 1" }.joined(separator: "\n")
    #expect(problems(yaml) { node, reader in reader.keys(node, ["known"]) }.count == SettingsReader.problemsMax)
  }
}

@Suite struct SettingsDocumentTests {
  @Test(arguments: [
    ("a: [1, 2", "f.yaml:2:1"), ("a: 1\nb: \"x\n", "f.yaml:"), ("a: 1\na: 2", "given twice"), ("a: *nowhere", "f.yaml:1:4"),
    ("? [1]\n: 2", "keys are plain text"), ("a: 1\n---\nb: 2", "another document"), ("\u{0}", "not YAML"), ("\t- a: b", "f.yaml:"),
  ]) func badTextIsAnError(yaml: String, part: String) {
    let error = #expect(throws: SettingsErrors.self) { try SettingsDocument.parse(yaml: yaml, file: "f.yaml") }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
  }

  @Test(arguments: ["", "# only a comment\n", "---\n", "~"]) func emptyIsAnEmptyMap(yaml: String) throws {
    #expect(try SettingsDocument.parse(yaml: yaml, file: "f").entries.isEmpty)
    #expect(try SettingsDocument.parse(yaml: yaml, file: "f").isMap)
  }

  @Test func aliasesCannotGrowWithoutBound() {
    var yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in 1...9 {
      yaml += "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ") + "]\n"
    }
    let error = #expect(throws: SettingsErrors.self) { try SettingsDocument.parse(yaml: yaml, file: "bomb") }
    #expect(error?.description.contains("more than 100000 values") == true)
  }

  @Test(arguments: [70, 900, 5000]) func nestingIsBounded(depth: Int) {
    let yaml = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    #expect(throws: SettingsErrors.self) { try SettingsDocument.parse(yaml: yaml, file: "deep") }
  }

  @Test func anAbsentFileIsNamed() {
    let error = #expect(throws: SettingsErrors.self) { try SettingsDocument.load(path: "/nonexistent/x.yaml") }
    #expect(error?.description == "/nonexistent/x.yaml: there is no such file")
  }

  @Test func nothingRandomEndsTheProcess() {
    let seed = UInt64.random(in: 0 ... .max)
    var state = seed
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let pieces = ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&x ", "*x", "\"", "'", "|", ">", "#", "!!int ", "? ", ",", "\u{e9}", "%", "@", "~", "---", "..."]
    for round in 0..<3000 {
      let yaml = (0..<next(24)).map { _ in pieces[next(pieces.count)] }.joined()
      do {
        let node = try SettingsDocument.parse(yaml: yaml, file: "random")
        var reader = SettingsReader()
        reader.keys(node, ["a"])
        _ = reader.int(node, "a", default: 0)
      } catch {
        #expect(!error.problems.isEmpty, "seed \(seed) round \(round)")
      }
    }
  }
}
