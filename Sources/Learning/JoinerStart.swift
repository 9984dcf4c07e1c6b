public import Events

/// From knowing nothing to joining.
extension Joiner {
  private static let probeFactor: Int64 = 8

  /// Starts, with the ends of the three logs as they are now. Only when idle and `startNanoseconds` has come.
  public func start(_ ends: Ends, nowNanoseconds: Int64) {
    precondition(phase == .idle, "a joiner is started in phase \(phase)")
    now = max(now, nowNanoseconds)
    self.ends = ends
    failure = nil
    last = nil
    history = JoinerHistory()
    writer.begin()
    guard ends.examples.upperBound > 0 else { return replay(from: -1) }
    probe = (max(ends.examples.lowerBound, ends.examples.upperBound - 1), 64)
    phase = .locating
    seekExamples = probe.from
    if ends.examples.isEmpty { locatedNothing() }
  }

  /// A record of `examples`.
  public func examples(offset: Int64, value: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?) {
    // What was read before a seek that was asked for is out of place.
    guard seekExamples == nil else { return }
    switch phase {
    case .idle: return
    case .locating:
      guard offset >= probe.from else { return }
      if reader.read(value, contentType: contentType), !reader.header.claim.isDirect {
        return replay(from: reader.header.rebuildExamples)
      }
      if offset >= ends.examples.upperBound - 1 { locatedNothing() }
    case .replaying:
      guard offset >= accepted.offset else { return }
      replayed(offset, value, contentType)
      if phase == .replaying { reachedExamples(accepted.offset) }
    case .rebuildingFeatures, .rebuildingLabels, .live:
      guard offset >= accepted.offset else { return }
      follow(offset, value, contentType)
    }
  }

  /// The end of `examples` was reached at `offset`: no record is left below it.
  public func reachedExamples(_ offset: Int64) {
    guard seekExamples == nil, offset >= ends.examples.upperBound else { return }
    switch phase {
    case .locating: locatedNothing()
    case .replaying: replayEnded()
    default: break
    }
  }

  /// No batch from the probe on: look further back.
  private func locatedNothing() {
    guard probe.from > ends.examples.lowerBound else { return replay(from: -1) }
    probe.from = max(ends.examples.lowerBound, ends.examples.upperBound - 1 - min(probe.step, ends.examples.upperBound))
    probe.step = probe.step.multipliedReportingOverflow(by: Self.probeFactor).overflow ? .max : probe.step * Self.probeFactor
    seekExamples = probe.from
  }

  // MARK: Replay

  private func replay(from offset: Int64) {
    let needed = max(0, offset)
    guard needed >= ends.examples.lowerBound else {
      return fail(.examplesTrimmed(needed: needed, oldest: ends.examples.lowerBound))
    }
    anchor = offset
    last = nil
    history = JoinerHistory()
    acceptedOffset = -1
    accepted = ExamplesReaderState(offset: needed)
    phase = .replaying
    seekExamples = needed
    if ends.examples.upperBound <= needed { replayEnded() }
  }

  private func replayed(_ offset: Int64, _ value: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) {
    guard reader.read(value, contentType: contentType) else {
      if offset == anchor { return fail(.notABatch(offset: offset)) }
      return accepted.skip(offset)
    }
    let header = reader.header
    if last == nil && anchor >= 0 {
      // The batch that a header named: it was seen accepted.
      guard offset == anchor, !header.claim.isDirect else { return fail(.notABatch(offset: anchor)) }
      accepted = ExamplesReaderState(
        offset: offset + 1, featuresTo: header.featuresTo, labelsTo: header.labelsTo, batch: header.batch)
    } else {
      guard accepted.accept(header.claim, at: offset), !header.claim.isDirect else { return }
    }
    last = header
    acceptedOffset = offset
    var example = ExampleView()
    while reader.next(&example) {
      history.add(
        featureOffset: example.featureOffset, labelOffset: example.labelOffset, labelTime: example.labelTimeMilliseconds,
        expired: example.expired)
    }
  }

  private func replayEnded() {
    if let last {
      if last.rebuildExamples < anchor { return replay(from: last.rebuildExamples) }
    } else if anchor >= 0 {
      return fail(.notABatch(offset: anchor))
    }
    rebuild()
  }

  // MARK: Reading again

  private func rebuild() {
    if ends.features.upperBound < accepted.featuresTo {
      return fail(.sourceEnds(topic: .features, at: ends.features.upperBound, covered: accepted.featuresTo))
    }
    if ends.labels.upperBound < accepted.labelsTo {
      return fail(.sourceEnds(topic: .labels, at: ends.labels.upperBound, covered: accepted.labelsTo))
    }
    let restored = last.flatMap { $0.watermarkMilliseconds == .min ? nil : $0.watermarkMilliseconds }
    watermark = JoinerWatermark(
      idleMilliseconds: settings.idleMilliseconds, ceiling: watermark.ceiling, nowNanoseconds: now, current: restored)
    table.removeAll(closedTick: restored.map(tickPassed))
    writer.begin()
    inFlight.removeAll()
    nextFeature = accepted.featuresTo
    nextLabel = accepted.labelsTo
    sealedFeatures = nextFeature
    sealedLabels = nextLabel
    sealedBatch = accepted.batch
    sealedNanoseconds = now
    featureCRC = last?.featuresCRC ?? 0
    labelCRC = last?.labelsCRC ?? 0
    pausedFeatures = false
    pausedLabels = false
    // The last covered record is always read again, to see that it is still the same.
    let features = max(ends.features.lowerBound, min(last?.rebuildFeatures ?? 0, nextFeature - 1))
    let labels = max(ends.labels.lowerBound, min(last?.rebuildLabels ?? 0, nextLabel - 1))
    if let last {
      counts.lostFeatures += max(0, min(ends.features.lowerBound, nextFeature) - max(0, last.rebuildFeatures))
      counts.lostLabels += max(0, min(ends.labels.lowerBound, nextLabel) - max(0, last.rebuildLabels))
    }
    rebuildLabel = labels
    phase = .rebuildingFeatures
    if features >= nextFeature { return featuresRebuilt() }
    seekFeatures = features
  }

  /// The end of `features` was reached at `offset`: no record is left below it.
  public func reachedFeatures(_ offset: Int64) {
    guard seekFeatures == nil else { return }
    if phase == .rebuildingFeatures {
      // An end met before the seek says nothing.
      if offset >= nextFeature { featuresRebuilt() }
      return
    }
    if phase == .live && offset >= nextFeature { watermark.setCaughtUp(features: true) }
  }

  /// The end of `labels` was reached at `offset`.
  public func reachedLabels(_ offset: Int64) {
    guard seekLabels == nil else { return }
    if phase == .rebuildingLabels {
      if offset >= nextLabel { labelsRebuilt() }
      return
    }
    if phase == .live && offset >= nextLabel { watermark.setCaughtUp(labels: true) }
  }

  func featuresRebuilt() {
    phase = .rebuildingLabels
    if rebuildLabel >= nextLabel { return labelsRebuilt() }
    seekLabels = rebuildLabel
  }

  func labelsRebuilt() {
    phase = .live
    history = JoinerHistory()
    sealedNanoseconds = now
    skipMissing(features: ends.features.lowerBound)
    skipMissing(labels: ends.labels.lowerBound)
    seekFeatures = nextFeature
    seekLabels = nextLabel
  }

  /// Features below `oldest` are gone from the log (retention passed the joiner): they are counted as lost and covered.
  public func skipMissing(features oldest: Int64) {
    guard phase == .live, oldest > nextFeature else { return }
    counts.lostFeatures += oldest - nextFeature
    nextFeature = oldest
    seekFeatures = oldest
  }

  /// Labels below `oldest` are gone from the log.
  public func skipMissing(labels oldest: Int64) {
    guard phase == .live, oldest > nextLabel else { return }
    counts.lostLabels += oldest - nextLabel
    nextLabel = oldest
    seekLabels = oldest
  }

  // MARK: Following

  /// Reads on in `examples`: own batches come back, or a rival's do.
  private func follow(_ offset: Int64, _ value: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) {
    guard reader.read(value, contentType: contentType) else { return accepted.skip(offset) }
    let claim = reader.header.claim
    let isAccepted = accepted.accept(claim, at: offset)
    if claim.isDirect { return }
    if isAccepted {
      guard let first = inFlight.first, first.batch == claim.batch else { return startOver() }
      inFlight.removeFirst()
      acceptedOffset = offset
      counts.accepted += 1
      succeeded()
    } else if inFlight.contains(claim.batch) {
      startOver()
    }
  }
}

extension ExampleBatchHeader {
  /// What acceptance looks at.
  public var claim: ExampleBatchClaim {
    ExampleBatchClaim(
      featuresFrom: featuresFrom, featuresTo: featuresTo, labelsFrom: labelsFrom, labelsTo: labelsTo, batch: batch, follows: follows)
  }
}
