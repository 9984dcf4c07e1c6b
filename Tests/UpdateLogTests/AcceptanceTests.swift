import Testing

@testable import UpdateLog

@Suite struct AcceptanceTests {
  private func update(from: Int64, to: Int64, partition: Int32 = 0, epoch: UInt32 = 0, spec: UInt64 = 1, kind: UpdateKind = .update) -> UpdateHeader {
    UpdateHeader(kind: kind, specHash: spec, epoch: epoch, sourcePartition: partition, from: from, to: SourceProgress(offset: to, featuresTo: 1, labelsTo: 2, batch: 3))
  }

  @Test func theRule() {
    var rule = Acceptance(specHash: 1)
    #expect(rule.decide(update(from: 0, to: 5)) == .accept)
    #expect(rule.progress(of: 0) == SourceProgress(offset: 5, featuresTo: 1, labelsTo: 2, batch: 3))
    #expect(rule.decide(update(from: 0, to: 5)) == .drop(.stale))
    #expect(rule.decide(update(from: 6, to: 7)) == .drop(.gap))
    #expect(rule.decide(update(from: 5, to: 5)) == .drop(.emptyRange))
    #expect(rule.decide(update(from: 5, to: 4)) == .drop(.emptyRange))
    #expect(rule.decide(update(from: 5, to: 6, epoch: 1)) == .drop(.epochMismatch))
    #expect(rule.decide(update(from: 5, to: 6, spec: 2)) == .drop(.specMismatch))
    #expect(rule.decide(update(from: 0, to: 3, partition: 1)) == .accept)
    #expect(rule.decide(update(from: 5, to: 6)) == .accept)
    #expect(rule.decide(update(from: 6, to: 9, kind: .skip)) == .accept)
    #expect(rule.skippedOffsets == 3)
    #expect(rule.progress(of: 0).offset == 9)
    #expect(rule.progress(of: 7) == SourceProgress())
  }

  @Test func freezeAndThawAreCompareAndSwapsOnTheEpoch() {
    var rule = Acceptance(specHash: 1)
    _ = rule.decide(update(from: 0, to: 5))
    let freeze = UpdateHeader(kind: .freeze, specHash: 1, epoch: 0)
    #expect(rule.decide(UpdateHeader(kind: .thaw, specHash: 1, epoch: 0), .thaw([])) == .drop(.notFrozen))
    #expect(rule.decide(freeze) == .accept)
    #expect(rule.epoch == 1 && rule.isFrozen)
    #expect(rule.decide(freeze) == .drop(.epochMismatch))
    #expect(rule.decide(UpdateHeader(kind: .freeze, specHash: 1, epoch: 1)) == .drop(.frozen))
    #expect(rule.decide(update(from: 5, to: 6)) == .drop(.epochMismatch))
    #expect(rule.decide(update(from: 5, to: 6, epoch: 1)) == .drop(.frozen))
    let thaw = UpdateHeader(kind: .thaw, specHash: 1, epoch: 1)
    #expect(rule.decide(thaw, .thaw([ThawSource(partition: 0, skipTo: SourceProgress(offset: 4))])) == .drop(.backwards))
    #expect(rule.isFrozen && rule.progress(of: 0).offset == 5)
    let skips = ControlPayload.thaw([
      ThawSource(partition: 0, skipTo: SourceProgress(offset: 8)), ThawSource(partition: 1),
      ThawSource(partition: 0, skipTo: SourceProgress(offset: 6)), ThawSource(partition: 2, skipTo: SourceProgress(offset: 2)),
    ])
    #expect(rule.decide(thaw, skips) == .accept)
    #expect(rule.epoch == 2 && !rule.isFrozen)
    #expect(rule.progress(of: 0).offset == 8 && rule.progress(of: 2).offset == 2 && rule.skippedOffsets == 5)
    #expect(rule.decide(update(from: 8, to: 9, epoch: 2)) == .accept)
  }

  @Test func kindsWithoutEffect() {
    var rule = Acceptance(specHash: 1)
    #expect(rule.decide(UpdateHeader(kind: .spec, specHash: 1), .spec(semanticsVersion: updateLogSemanticsVersion, canonicalBytes: [])) == .accept)
    #expect(rule.decide(UpdateHeader(kind: .spec, specHash: 1), .spec(semanticsVersion: 99, canonicalBytes: [])) == .drop(.unsupported))
    #expect(rule.decide(UpdateHeader(kind: .beacon, specHash: 1, epoch: 5)) == .accept)
    #expect(rule.decide(UpdateHeader(kind: .beacon, specHash: 2)) == .drop(.specMismatch))
    #expect(rule.decide(UpdateHeader(kind: .reset, specHash: 1), .reset(checkpoint: "x")) == .drop(.unsupported))
    #expect(rule.decide(UpdateHeader(kind: .expire, specHash: 1), .expire(slice: 0, slices: 1, beforeMilliseconds: 0)) == .drop(.unsupported))
    #expect(rule == Acceptance(specHash: 1))
  }

  @Test func sourcesAreBounded() {
    var progress: [Int32: SourceProgress] = [:]
    for p in 0..<Int32(Acceptance.sourcesMax) { progress[p] = SourceProgress(offset: 1) }
    var rule = Acceptance(specHash: 1, progress: progress)
    #expect(rule.decide(update(from: 0, to: 1, partition: 70_000)) == .drop(.tooManySources))
    #expect(rule.decide(update(from: 1, to: 2, partition: 5)) == .accept)
  }

  @Test func theProgressHashIsTheSameHoweverItCameAbout() {
    var rule = Acceptance(specHash: 1)
    _ = rule.decide(update(from: 0, to: 2))
    _ = rule.decide(update(from: 0, to: 4, partition: 1))
    _ = rule.decide(update(from: 2, to: 4))
    let same = Acceptance(specHash: 1, progress: rule.progress)
    #expect(rule.progressHash == same.progressHash)
    _ = rule.decide(update(from: 4, to: 5))
    #expect(rule.progressHash != same.progressHash)
  }
}
