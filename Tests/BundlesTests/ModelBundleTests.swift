import Bundles
import Foundation
import Model
import Testing

@Suite struct ModelBundleTests {
  @Test(arguments: [ModelBundle.Residence.automatic, .mapped, .copied])
  func whatIsWrittenIsReadBack(_ residence: ModelBundle.Residence) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("small.millrace")
    let count = try SmallBundle.writer().write(to: path)
    let bundle = try ModelBundle.open(path: path, verifying: .everything, residence: residence)
    #expect(bundle.byteCount == count)
    #expect(bundle.isMapped == (residence == .mapped), "small files are copied unless asked otherwise")
    var expected = SmallBundle.manifest
    // NaN is not equal to itself.
    #expect(bundle.manifest.inputs[0].absent?.isNaN == true)
    expected.inputs[0].absent = 0
    var manifest = bundle.manifest
    manifest.inputs[0].absent = 0
    #expect(manifest == expected)
    #expect(bundle.manifest.parameters["none"]?.double == -.infinity)
    #expect(bundle.sections.map(\.name) == ["weights", "bias", "empty", "large/ü", "last"])
    #expect(try Array(bundle.array("weights", of: Float.self, count: 2)) == SmallBundle.weights)
    #expect(try bundle.array("bias", of: Double.self)[0] == 0.25)
    #expect(try bundle.bytes("empty").isEmpty)
    #expect(try Array(bundle.bytes("large/ü")) == SmallBundle.large)
    #expect(try Array(bundle.tensor("last", of: UInt16.self, element: .bfloat16, shape: [3])) == [1, 2, 3])
    for section in bundle.sections where section.byteCount > 0 {
      let address = UInt(bitPattern: try bundle.bytes(section.name).baseAddress)
      #expect(address % (section.byteCount >= 65_536 ? 4_096 : 64) == 0)
      #expect(try bundle.computedChecksum(section.name) == section.checksum)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["small.millrace"], "no temporary file stays")
  }

  /// Copied in slices or handed out, whole or damaged, mapped or not: the checksum of a section stands before its first use.
  @Test(arguments: [ModelBundle.Residence.mapped, .copied]) func sectionsAreVerifiedAsTheyAreRead(_ residence: ModelBundle.Residence) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("m.millrace")
    let values = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    let writer = SmallBundle.writer()
    writer.add("huge", element: .uint8, shape: [values.count], values)
    try writer.write(to: path)
    func copy(_ bundle: ModelBundle) throws -> [UInt8] {
      var copy = [UInt8](repeating: 0, count: values.count)
      try copy.withUnsafeMutableBytes { try bundle.copy("huge", to: $0) }
      return copy
    }
    let whole = try ModelBundle.open(path: path, verifying: .asRead, residence: residence)
    #expect(try copy(whole) == values && copy(whole) == values)
    #expect(try Array(whole.bytes("huge")) == values)
    try whole.verify()

    var bytes = try #require(FileManager.default.contents(atPath: path))
    bytes[bytes.count - 500_000] ^= 1
    let damaged = folder.file("damaged.millrace")
    try bytes.write(to: URL(fileURLWithPath: damaged))
    let refusal = BundleError(place: "section \"huge\"", reason: "the checksum does not hold: the file is damaged")
    let bundle = try ModelBundle.open(path: damaged, verifying: .asRead, residence: residence)
    #expect(try Array(bundle.bytes("large/ü")) == SmallBundle.large, "another section is whole")
    #expect(throws: refusal) { try copy(bundle) }
    #expect(throws: refusal) { try bundle.bytes("huge") }
    #expect(throws: refusal) { try bundle.array("huge", of: UInt8.self) }
    #expect(throws: refusal) { try bundle.verify() }
    #expect(try copy(ModelBundle.open(path: damaged, residence: residence)) != values, "who asks for no checksums gets what is there")
  }

  @Test func aFileCutOffWhileItIsCopiedIsAnError() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("m.millrace")
    let writer = SmallBundle.writer()
    writer.add("huge", element: .uint8, shape: [600_000], [UInt8](repeating: 7, count: 600_000))
    try writer.write(to: path)
    let bundle = try ModelBundle.open(path: path, verifying: .asRead, residence: .mapped)
    #expect(truncate(path, 400_000) == 0)
    var copy = [UInt8](repeating: 0, count: 600_000)
    let error = #expect(throws: BundleError.self) { try copy.withUnsafeMutableBytes { try bundle.copy("huge", to: $0) } }
    #expect(error?.reason.contains("became shorter") == true)
  }

  @Test func theBytesInMemoryAreTheFile() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("small.millrace")
    try SmallBundle.writer().write(to: path)
    let bytes = try SmallBundle.writer().encoded()
    #expect(FileManager.default.contents(atPath: path).map(Array.init) == bytes)
    let bundle = try bytes.withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
    // A bundle made from another one's parts is the same file.
    let writer = BundleWriter(manifest: bundle.manifest)
    for section in bundle.sections { try writer.add(section: section.name, of: bundle) }
    #expect(try writer.encoded() == bytes)
  }

  @Test func aBundleWithoutSections() throws {
    let bytes = try BundleWriter(manifest: BundleManifest(name: "m", family: "none", outputs: [OutputTensor(name: "y")])).encoded()
    let bundle = try bytes.withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
    #expect(bundle.sections.isEmpty)
    #expect(!bundle.contains("weights"))
  }

  @Test func asksForWhatIsNotThereAreRefused() throws {
    let bundle = try SmallBundle.writer().encoded().withUnsafeBytes { try ModelBundle.read($0) }
    #expect(throws: BundleError(place: "section \"none\"", reason: "there is none")) { try bundle.bytes("none") }
    #expect(throws: BundleError(place: "section \"weights\"", reason: "2 elements where 3 are due")) {
      try bundle.array("weights", of: Float.self, count: 3)
    }
    #expect(throws: BundleError(place: "section \"last\"", reason: "6 bytes are no whole number of elements of 4")) {
      try bundle.array("last", of: Float.self)
    }
    #expect(throws: BundleError(place: "section \"weights\"", reason: "FP32 [2] where FP32 [1, 2] is due")) {
      try bundle.tensor("weights", of: Float.self, element: .float32, shape: [1, 2])
    }
    #expect(throws: BundleError.self) { try bundle.manifest.require(family: "trees", versionMax: 1) }
    var newer = bundle.manifest
    newer.familyVersion = 2
    #expect(throws: BundleError.self) { try newer.require(family: "linear", versionMax: 1) }
    try bundle.manifest.require(family: "linear", versionMax: 1)
  }

  @Test func theWriterRefusesWhatCouldNotBeReadBack() throws {
    func refusal(_ change: (BundleWriter) -> Void) -> String {
      let writer = SmallBundle.writer()
      change(writer)
      do {
        _ = try writer.encoded()
        return "written"
      } catch { return "\(error)" }
    }
    #expect(refusal { $0.add("weights", element: .float32, [1 as Float]) } == "section \"weights\": there twice")
    #expect(refusal { $0.add("x", element: .float32, shape: [2], [1 as Float]) } == "section \"x\": 4 bytes, which is not what FP32 [2] takes")
    #expect(refusal { $0.add("", element: .float32, [1 as Float]) } == "section \"\": a name has 1 to 1024 bytes")
    #expect(refusal { $0.add("x", element: .int8, shape: [1, 1, 1, 1, 1, 1, 1, 1, 1], [1 as Int8]) } == "section \"x\": 9 dimensions, more than 8")
    #expect(refusal { $0.manifest.outputs = [] } == "manifest.outputs: a model has at least one output")
    #expect(refusal { $0.manifest.inputs[1].name = "input" } == "manifest.inputs[1].name: \"input\" is there twice")
    #expect(refusal { $0.manifest.inputs[0].columns = ["a"] } == "manifest.inputs[0].columns: 1 names for 2 columns")
  }

  @Test func whatCannotBeWrittenLeavesNothingBehind() throws {
    let folder = try TemporaryFolder()
    #expect(throws: BundleError.self) { try SmallBundle.writer().write(to: folder.file("no/such/folder/x.millrace")) }
    // A folder stands where the file should go.
    try FileManager.default.createDirectory(atPath: folder.file("taken"), withIntermediateDirectories: false)
    #expect(throws: BundleError.self) { try SmallBundle.writer().write(to: folder.file("taken")) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["taken"])
  }

  @Test func aFileReplacedByRenamingLeavesTheMappingAsItWas() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("small.millrace")
    try SmallBundle.writer().write(to: path)
    let old = try ModelBundle.open(path: path, residence: .mapped)
    try BundleWriter(manifest: BundleManifest(name: "m", family: "none", outputs: [OutputTensor(name: "y")])).write(to: path)
    try old.verify()
    #expect(try ModelBundle.open(path: path).manifest.name == "m")
  }

  @Test func thingsThatAreNoBundles() throws {
    let folder = try TemporaryFolder()
    func refusal(_ path: String) -> String {
      do {
        _ = try ModelBundle.open(path: path)
        return "opened"
      } catch { return "\(error)" }
    }
    #expect(refusal(folder.file("none")).hasSuffix("file: cannot be opened: No such file or directory"))
    #expect(refusal(folder.path).hasSuffix("file: this is no regular file"))
    _ = FileManager.default.createFile(atPath: folder.file("empty"), contents: Data())
    #expect(refusal(folder.file("empty")).hasSuffix("file: it is empty"))
    _ = FileManager.default.createFile(atPath: folder.file("text"), contents: Data("tree\nversion=v4\n".utf8))
    #expect(refusal(folder.file("text")).contains("this is not a bundle"))
    let pipe = folder.file("pipe")
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(refusal(pipe).hasSuffix("file: this is no regular file"))
  }
}
