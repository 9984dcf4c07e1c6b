internal import Bundles
internal import Families
internal import Kernels

/// What a store knows of one source: decides what to load and what to drop. A value of the store's thread; no IO.
struct StorePlace {
  struct Loaded {
    var file: ModelFolder.File
    var version: LoadedVersion
  }

  struct Bad {
    var file: ModelFolder.File
    var reason: String
  }

  let source: ModelSource
  /// Whether `name` is what the model is called, by the configuration or by a bundle.
  private(set) var isNamed: Bool
  private(set) var name: String
  /// By version, ascending.
  var loaded: [Loaded] = []
  /// Files that could not be loaded, until they change.
  var bad: [Bad] = []
  var folderProblem = ""
  var isUnloaded = false
  var lookedNanoseconds: Int64 = 0
  /// Memory between two versions; nil: it is given back.
  private let spare: PagePool?

  init(source: ModelSource) {
    self.source = source
    spare = source.tables == .hugePages(keepsSpare: true) ? PagePool() : nil
    isNamed = source.name != nil
    name = source.provisionalName
  }

  /// Where the tables of the next version go.
  var residence: TableResidence { source.tables == .mapped ? .mapped : .hugePages(spare) }

  var spareBytes: Int { spare?.byteCount ?? 0 }

  /// Gives the spare memory back; call it again when versions that went since have given theirs.
  func dropSpare() { spare?.drain() }

  /// What is not there, and why.
  var absent: [StoreSnapshot.Absent] {
    (folderProblem.isEmpty ? [] : [StoreSnapshot.Absent(version: 0, reason: folderProblem)])
      + bad.map { StoreSnapshot.Absent(version: $0.file.version, reason: $0.reason) }
  }

  mutating func forget(filesNotIn files: [ModelFolder.File]) {
    bad.removeAll { bad in !files.contains { $0.version == bad.file.version && $0.identity == bad.file.identity } }
  }

  /// The next file to load: the newest of those that are wanted and not there as they are now.
  func nextToLoad(_ files: [ModelFolder.File]) -> ModelFolder.File? {
    guard !isUnloaded else { return nil }
    return wanted(files).last { file in !isBad(file) && !loaded.contains { $0.file.version == file.version && $0.file.identity == file.identity } }
  }

  mutating func take(_ version: LoadedVersion, _ file: ModelFolder.File, retiring retired: inout [LoadedVersion]) {
    isNamed = true
    name = version.name
    if let index = loaded.firstIndex(where: { $0.file.version == file.version }) {
      retired.append(loaded[index].version)
      loaded.remove(at: index)
    }
    loaded.append(Loaded(file: file, version: version))
    loaded.sort { $0.version.version < $1.version.version }
  }

  /// Drops versions that are not wanted any more; none when nothing could take their place.
  mutating func dropUnwanted(_ files: [ModelFolder.File], retiring retired: inout [LoadedVersion]) -> Bool {
    let wanted = wanted(files)
    guard !wanted.isEmpty else { return false }
    let unwanted = loaded.filter { loaded in !wanted.contains { $0.version == loaded.file.version } }
    guard !unwanted.isEmpty, unwanted.count < loaded.count else { return false }
    retired += unwanted.map(\.version)
    loaded.removeAll { loaded in unwanted.contains { $0.version === loaded.version } }
    return true
  }

  func snapshot(source index: Int) -> StoreSnapshot.Model {
    var labels: [String: Int] = [:]
    for loaded in loaded {
      // The newer version comes later.
      for label in loaded.version.manifest.labels.prefix(ModelSource.labelsMax) { labels[label] = loaded.version.version }
    }
    for (label, version) in source.labels {
      labels[label] = loaded.contains { $0.version.version == version } ? version : nil
    }
    return StoreSnapshot.Model(
      name: name, source: index, versions: loaded.reversed().map(\.version), labels: labels, absent: absent, isUnloaded: isUnloaded)
  }

  // MARK: Choosing

  private func isBad(_ file: ModelFolder.File) -> Bool {
    bad.contains { $0.file.version == file.version && $0.file.identity == file.identity }
  }

  /// The files of the versions to hold, by version. A version that is loaded stays a choice when its file has become bad: what is in
  /// memory is good.
  private func wanted(_ files: [ModelFolder.File]) -> [ModelFolder.File] {
    let choices = files.filter { file in !isBad(file) || loaded.contains { $0.file.version == file.version } }
    let labelled = Set(source.labels.values)
    let chosen: [ModelFolder.File]
    switch source.versions {
    case .all: chosen = choices.suffix(ModelSource.versionsMax)
    case .latest(let count): chosen = choices.suffix(max(1, count))
    case .specific(let versions): chosen = choices.filter { $0.version == 0 || versions.contains($0.version) }
    }
    return choices.filter { file in labelled.contains(file.version) || chosen.contains { $0.version == file.version } }
  }
}
