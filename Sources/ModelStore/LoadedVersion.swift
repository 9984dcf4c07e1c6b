public import Bundles
public import Families
public import Model
internal import Synchronization

/// One version of a model from a bundle, ready to score. Any thread; each takes a scorer of its own.
///
/// Who scores with it holds it. The store holds it longest, so that its memory is given back, and its file unmapped, on the store's thread.
public final class LoadedVersion: @unchecked Sendable {
  public let name: String
  public let version: Int
  public let model: LoadedModel
  public let manifest: BundleManifest
  public let path: String
  public let byteCount: Int
  public let isMapped: Bool
  /// What readers of events and requests go by.
  public let specification: ModelSpecification
  /// Rows of one request at most.
  public let maxBatchSize: Int
  /// Rows that were scored lately, for the version after this one.
  public let recent: RecentRows
  private let bundle: ModelBundle
  private let idle = Mutex(Idle())

  /// Handed from one thread to another through the lock, never shared.
  private struct Idle: @unchecked Sendable {
    var scorers: [Scorer] = []
  }

  /// More outputs than a request can ask for by name make no model.
  public static let outputsMax = 64
  /// Rows of one request when neither bundle nor configuration say.
  static let maxBatchSizeNormal = 4096
  /// Elements of one request, over all rows.
  public static let requestElementsMax = 1 << 22
  /// Rows that a scorer has room for before it grows.
  static let scorerRows = 64

  /// - Throws: why the model in the bundle cannot be served under this name.
  init(bundle: ModelBundle, model: LoadedModel, name: String, version: Int, maxBatchSize: Int?) throws(BundleError) {
    func refused(_ place: String, _ reason: String) -> BundleError { BundleError(place: "\(bundle.path): \(place)", reason: reason) }
    guard model.outputs.count <= Self.outputsMax else {
      throw refused("manifest.outputs", "\(model.outputs.count) outputs, at most \(Self.outputsMax) can be served")
    }
    do {
      specification = try model.servingSpecification(name: name, version: version)
    } catch {
      throw refused("manifest", "\(error)")
    }
    self.bundle = bundle
    self.model = model
    self.name = name
    self.version = version
    manifest = bundle.manifest
    path = bundle.path
    byteCount = bundle.byteCount
    isMapped = bundle.isMapped
    // Bounded by the specification: rows have at most `denseRowBytesMax` bytes.
    let elements = specification.features.reduce(specification.entriesPerRowMax) { $0 + ($1.tensor?.count ?? 0) }
    let most = max(1, Self.requestElementsMax / max(1, elements))
    self.maxBatchSize = min(max(1, maxBatchSize ?? bundle.manifest.maxBatchSize ?? Self.maxBatchSizeNormal), most)
    recent = RecentRows(specification: specification)
  }

  /// A scorer for the calling thread, warm when there is one; give it back.
  public func takeScorer() -> Scorer {
    let taken = idle.withLock { idle in Idle(scorers: idle.scorers.popLast().map { [$0] } ?? []) }
    return taken.scorers.first ?? model.makeScorer(rowsMax: Self.scorerRows)
  }

  public func giveBack(_ scorer: Scorer) {
    let returned = Idle(scorers: [scorer])
    idle.withLock { $0.scorers += returned.scorers }
  }

  /// Makes `count` scorers and lets each score `rows`, so that the pages of the parameters and of the scorers' own memory are there when
  /// the first request comes.
  func warm(scorers count: Int, with rows: RowBatch) {
    for _ in 0..<count {
      let scorer = model.makeScorer(rowsMax: Self.scorerRows)
      if rows.rowCount > 0 {
        for _ in 0..<Self.warmRounds {
          scorer.reserve(rows: rows.rowCount)
          scorer.score(rows)
        }
      }
      giveBack(scorer)
    }
  }

  private static let warmRounds = 2
}
