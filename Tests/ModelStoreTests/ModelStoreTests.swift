import Bundles
import Families
import Foundation
import Model
import Synchronization
import Telemetry
import Testing

@testable import ModelStore

@Suite("Models from bundles") struct ModelStoreTests {
  /// Never looks by itself: tests ask.
  private func source(_ path: String, name: String? = nil, versions: ModelSource.Versions = .latest(1), labels: [String: Int] = [:]) -> ModelSource {
    ModelSource(path: path, name: name, versions: versions, labels: labels, reloadMilliseconds: nil)
  }

  @Test func aFileIsOneModelWithTheNameAndVersionOfItsBundle() throws {
    let folder = TestFolder()
    let path = folder.file("some.millrace")
    try TestBundles.write(path, version: 7, labels: ["stable"])
    let store = ModelStore(source(path))
    store.start()
    defer { store.stop() }
    let model = try #require(store.fraud)
    #expect(model.versions.map(\.version) == [7] && model.labels == ["stable": 7] && model.absent.isEmpty)
    #expect(model.normalVersion?.answer == 7)
    #expect(model.versions[0].specification.family == .loaded && model.versions[0].maxBatchSize > 1)
    #expect(store.knows("fraud") && !store.knows("some"))
  }

  @Test func theConfigurationsNameIsTheModels() throws {
    let folder = TestFolder()
    let path = folder.file("some.millrace")
    try TestBundles.write(path, name: "other")
    let store = ModelStore(source(path, name: "fraud"))
    store.start()
    defer { store.stop() }
    #expect(store.versions == [1])
  }

  @Test func aFolderHasVersionsByFileName() throws {
    let folder = TestFolder()
    for version in [1, 2, 10] { try TestBundles.write(folder.file("\(version).millrace"), version: 1, answer: Float(version)) }
    try TestBundles.write(folder.file("notes.millrace"))
    try Data("x".utf8).write(to: URL(fileURLWithPath: folder.file("3.txt")))
    func loaded(_ versions: ModelSource.Versions, _ labels: [String: Int] = [:]) -> StoreSnapshot.Model? {
      let store = ModelStore(source(folder.path, versions: versions, labels: labels))
      store.start()
      defer { store.stop() }
      return store.fraud
    }
    #expect(loaded(.latest(1))?.versions.map(\.version) == [10])
    #expect(loaded(.latest(2))?.versions.map(\.version) == [10, 2])
    #expect(loaded(.all)?.versions.map(\.answer) == [10, 2, 1])
    #expect(loaded(.specific([2, 5]))?.versions.map(\.version) == [2])
    let labelled = loaded(.latest(1), ["stable": 2, "gone": 5])
    #expect(labelled?.versions.map(\.version) == [10, 2] && labelled?.labels == ["stable": 2])
    #expect(labelled?.normalVersion?.version == 2)
    #expect(loaded(.latest(1))?.normalVersion?.version == 10)
  }

  @Test func aNewVersionTakesOverAndTheOldOneGoes() throws {
    let folder = TestFolder()
    try TestBundles.write(folder.file("1.millrace"), version: 1)
    let store = ModelStore(source(folder.path))
    let seen = Mutex<[[Int]]>([])
    store.observe { snapshot in seen.withLock { $0.append(snapshot.models.flatMap { $0.versions.map(\.version) }) } }
    store.start()
    defer { store.stop() }
    weak var old = store.fraud?.versions.first
    var held = old
    #expect(held?.answer == 1)
    try TestBundles.write(folder.file("2.millrace"), version: 2)
    #expect(store.loadNow("fraud") == nil)
    #expect(store.versions == [2])
    // Each change is whole: never both, never none.
    #expect(seen.withLock { $0 } == [[1], [2]])
    store.loadNow("fraud")
    #expect(old != nil, "somebody scores with it")
    #expect(held?.answer == 1)
    held = nil
    // Released by the turn of the thread that comes after a wish, so the second one has seen it.
    store.loadNow("fraud")
    store.loadNow("fraud")
    #expect(old == nil)
  }

  @Test func filesAreWatched() async throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    try TestBundles.write(path, version: 1)
    let store = ModelStore(ModelSource(path: path, reloadMilliseconds: 10))
    let (changes, changed) = AsyncStream<[Int]>.makeStream()
    store.observe { snapshot in changed.yield(snapshot.models[0].versions.map(\.version)) }
    store.start()
    defer { store.stop() }
    try TestBundles.write(path, version: 2)
    for await versions in changes where versions == [2] { break }
    #expect(store.fraud?.versions.first?.answer == 2)
  }

  @Test func aBadFileIsReportedAndTheOldOneServesOn() throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    let registry = Registry()
    try TestBundles.write(path, version: 1)
    let store = ModelStore(source(path), registry: registry)
    store.start()
    defer { store.stop() }
    var bad = try TestBundles.bytes(version: 2)
    bad[bad.count / 2] ^= 1
    try Data(bad).write(to: URL(fileURLWithPath: path), options: .atomic)
    let problem = store.loadNow("fraud")
    #expect(problem?.contains(path) == true, "\(problem ?? "")")
    #expect(store.versions == [1] && store.fraud?.versions.first?.answer == 1)
    #expect(store.fraud?.absent.count == 1)
    #expect(registry.counter("millrace_model_load_failures_total", "Bundles that could not be loaded; what was served before is served on", labels: [("model", "fraud")]).value == 1)
    try TestBundles.write(path, version: 3)
    #expect(store.loadNow("fraud") == nil)
    #expect(store.versions == [3] && store.fraud?.absent.isEmpty == true)
  }

  /// The tables of the second version go to fresh memory, beside the first one's; those of the third to what the first one left.
  @Test(arguments: [true, false]) func aReplacedVersionLeavesItsMemoryToTheNext(_ keepsSpare: Bool) throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    let registry = Registry()
    try TestBundles.writeTable(path, version: 1)
    let store = ModelStore(
      ModelSource(path: path, reloadMilliseconds: nil, tables: .hugePages(keepsSpare: keepsSpare)), registry: registry)
    store.start()
    defer { store.stop() }
    func spare() -> Double { registry.gauge("millrace_model_spare_bytes", "Memory of a version that went, kept for the one that comes", labels: [("model", "table")]).value }
    func retired() -> Double { registry.gauge("millrace_model_versions_retired", "Old versions whose last requests have not ended yet").value }
    for version in 2...4 {
      try TestBundles.writeTable(path, version: version, rows: 50_000 + version)
      #expect(store.loadNow("table") == nil)
      #expect(store.snapshot().models.first?.versions.map(\.version) == [version])
      // The old one goes when its thread has done what was asked, so before it does the next thing.
      #expect(store.loadNow("table") == nil && retired() == 0)
      #expect((spare() > 1_000_000) == keepsSpare)
    }
    #expect(store.unloadNow("table") == nil)
    #expect(store.unloadNow("table") == nil && retired() == 0 && spare() == 0)
  }

  @Test func mappedTablesStayInTheFile() throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    try TestBundles.writeTable(path, version: 1)
    let store = ModelStore(ModelSource(path: path, reloadMilliseconds: nil, tables: .mapped))
    store.start()
    defer { store.stop() }
    let version = try #require(store.snapshot().models.first?.versions.first)
    #expect(version.isMapped && version.byteCount > 1_000_000)
    #expect(version.answer == 1)
  }

  @Test func aBadNewVersionOfAFolderLeavesTheBestGoodOne() throws {
    let folder = TestFolder()
    for version in [1, 2] { try TestBundles.write(folder.file("\(version).millrace"), answer: Float(version)) }
    let store = ModelStore(source(folder.path))
    store.start()
    defer { store.stop() }
    try Data("no bundle".utf8).write(to: URL(fileURLWithPath: folder.file("3.millrace")))
    #expect(store.loadNow("fraud")?.contains("3.millrace") == true)
    #expect(store.versions == [2] && store.fraud?.absent.map(\.version) == [3])
    // The file of what is loaded becomes bad, or goes: what is in memory stays.
    try Data("no bundle".utf8).write(to: URL(fileURLWithPath: folder.file("2.millrace")), options: .atomic)
    store.loadNow("fraud")
    #expect(store.versions == [2] && store.fraud?.versions.first?.answer == 2)
    for file in ["1", "2", "3"] { try FileManager.default.removeItem(atPath: folder.file("\(file).millrace")) }
    #expect(store.loadNow("fraud")?.contains("no file named by a version") == true)
    #expect(store.versions == [2])
  }

  @Test func whatIsNotThereAtStartMayComeLater() throws {
    let folder = TestFolder()
    let store = ModelStore(source(folder.file("fraud.millrace")))
    store.start()
    defer { store.stop() }
    #expect(store.fraud?.versions.isEmpty == true && store.fraud?.absent.first?.reason.contains("No such file") == true)
    try TestBundles.write(folder.file("fraud.millrace"))
    #expect(store.loadNow("fraud") == nil)
    #expect(store.versions == [1])
  }

  @Test func unloadTakesOffAndLoadBringsBack() throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    try TestBundles.write(path)
    let store = ModelStore(source(path))
    store.start()
    defer { store.stop() }
    #expect(store.unloadNow("fraud") == nil)
    #expect(store.versions.isEmpty && store.fraud?.isUnloaded == true)
    #expect(store.loadNow("fraud") == nil)
    #expect(store.versions == [1] && store.fraud?.isUnloaded == false)
    #expect(store.loadNow("nothing") == "there is no model \"nothing\"")
  }

  @Test func twoModelsCannotShareAName() throws {
    let folder = TestFolder()
    for file in ["a", "b"] { try TestBundles.write(folder.file("\(file).millrace")) }
    let store = ModelStore(source(folder.file("a.millrace")), source(folder.file("b.millrace")))
    store.start()
    defer { store.stop() }
    #expect(store.snapshot().models.map(\.versions.count) == [1, 0])
    #expect(store.snapshot().models[1].absent.first?.reason.contains("another model's") == true)
  }

  /// Whatever byte is wrong, the bundle is refused with a place, and the store goes on.
  @Test func damageIsRefusedEverywhere() throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    try TestBundles.write(path)
    let store = ModelStore(source(path))
    store.start()
    defer { store.stop() }
    let good = try TestBundles.bytes(version: 2)
    let steps = 97
    for index in stride(from: 0, to: good.count, by: max(1, good.count / steps)) {
      var bad = good
      bad[index] ^= UInt8(1 << (index % 8))
      try Data(bad).write(to: URL(fileURLWithPath: path), options: .atomic)
      let problem = store.loadNow("fraud")
      #expect(problem?.isEmpty == false, "byte \(index) of \(good.count)")
      #expect(store.versions == [1], "byte \(index) of \(good.count)")
    }
    for count in [0, 1, 63, 64, good.count / 2, good.count - 1] {
      try Data(good[0..<count]).write(to: URL(fileURLWithPath: path), options: .atomic)
      #expect(store.loadNow("fraud") != nil, "\(count) of \(good.count) bytes")
      #expect(store.versions == [1])
    }
  }

  @Test func anUnknownFamilyIsNamed() throws {
    let writer = BundleWriter(manifest: BundleManifest(name: "m", family: "oracle", outputs: [OutputTensor(name: "y")]))
    let bundle = try writer.encoded().withUnsafeBytes { try ModelBundle.read($0) }
    let error = #expect(throws: BundleError.self) { try ModelStore.load(bundle) }
    #expect(error?.reason.contains("oracle") == true)
  }

  @Test func aVersionIsWarmedWithRecentRows() throws {
    let folder = TestFolder()
    let path = folder.file("m.millrace")
    try TestBundles.write(path)
    let store = ModelStore(source(path))
    store.start()
    defer { store.stop() }
    let version = try #require(store.fraud?.versions.first)
    let rows = RowBatch(for: version.specification)
    for value in 0..<3 {
      rows.reserveDenseRow().storeBytes(of: Float(value), as: Float.self)
      rows.endRow()
    }
    for _ in 0..<200 { version.recent.offer(rows) }
    let copy = RowBatch(for: version.specification)
    version.recent.copy(to: copy)
    #expect(copy.rowCount > 0 && copy.rowCount <= RecentRows.rowsMax)
    let dense = try #require(copy.dense)
    for row in 0..<copy.rowCount { #expect((0..<3).contains(Int(dense.load(fromByteOffset: row * copy.denseRowBytes, as: Float.self)))) }
  }
}
