import ModelStore
import Operations

extension ModelSource {
  /// As the configuration has it.
  init(_ settings: InstanceSettings.BundleSettings) {
    let versions: Versions = switch settings.versions {
    case .all: .all
    case .latest(let count): .latest(count)
    case .specific(let versions): .specific(versions)
    }
    self.init(
      path: settings.path, name: settings.name, versions: versions, labels: settings.labels, maxBatchSize: settings.maxBatchSize,
      reloadMilliseconds: settings.reloadMilliseconds, warms: settings.warms,
      tables: settings.mapsTables ? .mapped : .hugePages(keepsSpare: settings.keepsSpareMemory))
  }
}

extension InstanceSettings {
  /// Threads that score requests: a scorer for each is warmed with a new version.
  var scorersWarm: Int { grpc.loops > 0 ? grpc.loops : ModelStore.coreCount }
}
