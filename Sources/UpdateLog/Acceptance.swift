/// Why a record was dropped.
public enum DropReason: UInt8, Sendable, CaseIterable {
  case specMismatch = 0
  case epochMismatch = 1
  /// Its range starts before the shard's progress: a duplicate, a retry, or the slower of two trainers.
  case stale = 2
  /// Its range starts beyond the shard's progress: something before it is missing.
  case gap = 3
  case emptyRange = 4
  case frozen = 5
  case notFrozen = 6
  /// A THAW or SKIP would move progress backwards.
  case backwards = 7
  /// One more source partition than a shard keeps track of.
  case tooManySources = 8
  /// A kind that this version parses and does not apply: dropped by every replica alike.
  case unsupported = 9
  /// The rows are of another family.
  case wrongFamily = 10

  /// For metrics: stable.
  public var name: String {
    switch self {
    case .specMismatch: "spec_mismatch"
    case .epochMismatch: "epoch_mismatch"
    case .stale: "stale"
    case .gap: "gap"
    case .emptyRange: "empty_range"
    case .frozen: "frozen"
    case .notFrozen: "not_frozen"
    case .backwards: "backwards"
    case .tooManySources: "too_many_sources"
    case .unsupported: "unsupported"
    case .wrongFamily: "wrong_family"
    }
  }
}

public enum Decision: Sendable, Equatable {
  case accept
  case drop(DropReason)
}

/// The rule of one shard, as a value: what it accepts depends on the records before, and on nothing else.
///
/// An update is accepted if and only if the specification's hash and the epoch match and `from` is the shard's progress in that source;
/// progress is then `to`. Compare-and-swap on the log: every replica decides alike, accepted ranges tile the source, and each
/// (example, shard) counts exactly once. FREEZE, THAW and SKIP are compare-and-swaps on the epoch; FREEZE and THAW raise it, so that nothing
/// computed before them is applied after them.
public struct Acceptance: Sendable, Equatable {
  public static let sourcesMax = 65_536

  public let specHash: UInt64
  public private(set) var epoch: UInt32
  public private(set) var isFrozen: Bool
  public private(set) var progress: [Int32: SourceProgress]
  /// Source offsets that SKIP and THAW passed over: what the count family may miss.
  public private(set) var skippedOffsets: Int64
  /// The sum of a hash of each source's progress, modulo 2^64.
  private(set) var progressHash: UInt64 = 0
  /// For tests, which take rules out to see that they are missed.
  var rules = AcceptanceRules.all

  public init(
    specHash: UInt64, epoch: UInt32 = 0, isFrozen: Bool = false, progress: [Int32: SourceProgress] = [:], skippedOffsets: Int64 = 0
  ) {
    self.specHash = specHash
    self.epoch = epoch
    self.isFrozen = isFrozen
    self.progress = progress
    self.skippedOffsets = skippedOffsets
    for (partition, at) in progress { progressHash &+= Self.hash(partition, at) }
  }

  /// Where the shard stands in a source: offset 0 before its first record.
  public func progress(of partition: Int32) -> SourceProgress { progress[partition] ?? SourceProgress() }

  /// Decides about one record and, when it accepts, takes the step. The only mutation there is.
  public mutating func decide(_ header: UpdateHeader, _ control: ControlPayload = .none) -> Decision {
    if rules.contains(.specMatches), header.specHash != specHash { return .drop(.specMismatch) }
    switch header.kind {
    case .spec:
      // The same specification once more (two creators): harmless.
      guard case .spec(let semantics, _) = control, semantics == updateLogSemanticsVersion else { return .drop(.unsupported) }
      return .accept
    case .beacon: return .accept
    case .reset, .expire: return .drop(.unsupported)
    case .update, .skip, .freeze, .thaw: break
    }
    if rules.contains(.epochMatches), header.epoch != epoch { return .drop(.epochMismatch) }
    switch header.kind {
    case .update, .skip:
      if rules.contains(.frozenHolds), isFrozen { return .drop(.frozen) }
      let here = progress[header.sourcePartition] ?? SourceProgress()
      if rules.contains(.rangeNotEmpty), header.to.offset <= header.from { return .drop(.emptyRange) }
      if rules.contains(.fromIsProgress), header.from != here.offset { return .drop(header.from < here.offset ? .stale : .gap) }
      if progress[header.sourcePartition] == nil, progress.count >= Self.sourcesMax { return .drop(.tooManySources) }
      if header.kind == .skip { skippedOffsets &+= header.to.offset &- header.from }
      if rules.contains(.progressAdvances) { set(header.to, of: header.sourcePartition) }
      return .accept
    case .freeze:
      if isFrozen { return .drop(.frozen) }
      isFrozen = true
      if rules.contains(.epochRises) { epoch &+= 1 }
      return .accept
    case .thaw:
      guard isFrozen else { return .drop(.notFrozen) }
      guard case .thaw(let sources) = control else { return .drop(.unsupported) }
      var added = 0
      for source in sources {
        guard let to = source.skipTo else { continue }
        if rules.contains(.skipsForward), to.offset < progress(of: source.partition).offset { return .drop(.backwards) }
        if progress[source.partition] == nil { added += 1 }
      }
      if progress.count + added > Self.sourcesMax { return .drop(.tooManySources) }
      for source in sources {
        guard let to = source.skipTo else { continue }
        let before = progress(of: source.partition).offset
        // A source named twice: the second must not take the first back.
        if rules.contains(.skipsForward), to.offset < before { continue }
        skippedOffsets &+= to.offset &- before
        set(to, of: source.partition)
      }
      isFrozen = false
      if rules.contains(.epochRises) { epoch &+= 1 }
      return .accept
    case .spec, .beacon, .reset, .expire: return .drop(.unsupported)
    }
  }

  private mutating func set(_ to: SourceProgress, of partition: Int32) {
    let before = progress.updateValue(to, forKey: partition)
    if let before { progressHash &-= Self.hash(partition, before) }
    progressHash &+= Self.hash(partition, to)
  }

  private static func hash(_ partition: Int32, _ at: SourceProgress) -> UInt64 {
    StateHash.words(
      UInt64(truncatingIfNeeded: partition), UInt64(bitPattern: at.offset),
      StateHash.words(UInt64(bitPattern: at.featuresTo), UInt64(bitPattern: at.labelsTo), at.batch, 0), 1)
  }

  public static func == (a: Acceptance, b: Acceptance) -> Bool {
    a.specHash == b.specHash && a.epoch == b.epoch && a.isFrozen == b.isFrozen && a.progress == b.progress && a.skippedOffsets == b.skippedOffsets
  }
}

/// The parts of the rule, each of which a simulation must miss when it is taken out.
struct AcceptanceRules: OptionSet, Sendable {
  let rawValue: UInt8
  static let specMatches = AcceptanceRules(rawValue: 1)
  static let epochMatches = AcceptanceRules(rawValue: 2)
  static let fromIsProgress = AcceptanceRules(rawValue: 4)
  static let progressAdvances = AcceptanceRules(rawValue: 8)
  static let rangeNotEmpty = AcceptanceRules(rawValue: 16)
  static let frozenHolds = AcceptanceRules(rawValue: 32)
  static let epochRises = AcceptanceRules(rawValue: 64)
  static let skipsForward = AcceptanceRules(rawValue: 128)
  static let each: [(String, AcceptanceRules)] = [
    ("specMatches", .specMatches), ("epochMatches", .epochMatches), ("fromIsProgress", .fromIsProgress), ("progressAdvances", .progressAdvances),
    ("rangeNotEmpty", .rangeNotEmpty), ("frozenHolds", .frozenHolds), ("epochRises", .epochRises), ("skipsForward", .skipsForward),
  ]
  static let all = AcceptanceRules(rawValue: 255)
}
