// Hot: no allocation in the steady state.
internal import Events
internal import Model

/// What goes out, and when.
extension Joiner {
  /// Says what time it is: before records of a read are handed in.
  /// - Parameters:
  ///   - nowNanoseconds: the monotonic clock.
  ///   - wallMilliseconds: since 1970; only bounds wild event times.
  public func tell(nowNanoseconds: Int64, wallMilliseconds: Int64) {
    now = max(now, nowNanoseconds)
    let (ceiling, overflow) = wallMilliseconds.addingReportingOverflow(settings.futureMilliseconds)
    watermark.ceiling = overflow ? .max : ceiling
  }

  /// After each read, and at least every few milliseconds while something waits: closes windows, and sends what was decided.
  /// - Parameter elsewhere: the watermark of other partitions of the same topics, which an idle one follows.
  public func turn(nowNanoseconds: Int64, elsewhereMilliseconds: Int64? = nil) {
    now = max(now, nowNanoseconds)
    guard phase == .live else { return }
    if let first = inFlight.first, now - first.nanoseconds >= settings.unseenMilliseconds * 1_000_000 { return startOver() }
    if inFlight.count < settings.inFlightBatchesMax {
      _ = watermark.advance(nowNanoseconds: now, elsewhere: elsewhereMilliseconds)
      closeWindows()
      evict()
    }
    if writer.count > 0 {
      seal()
    } else if inFlight.count < settings.inFlightBatchesMax {
      cover()
    }
    table.compact()
    keepSourcesTogether()
  }

  /// Covers all progress now, as before a stop.
  public func finish() {
    guard phase == .live else { return }
    if writer.count > 0 || sealedFeatures < nextFeature || sealedLabels < nextLabel { seal() }
  }

  /// Progress without decisions: now and then.
  private func cover() {
    let offsets = (nextFeature - sealedFeatures) + (nextLabel - sealedLabels)
    guard offsets > 0 else { return }
    if offsets >= settings.coverOffsetsMax || now - sealedNanoseconds >= settings.coverMilliseconds * 1_000_000 { seal() }
  }

  /// Closes the open batch over everything taken so far.
  func seal() {
    var header = ExampleBatchHeader()
    header.featuresFrom = sealedFeatures
    header.featuresTo = nextFeature
    header.labelsFrom = sealedLabels
    header.labelsTo = nextLabel
    header.rebuildFeatures = nextFeature
    header.rebuildLabels = phase == .live ? nextLabel : rebuildLabel
    header.rebuildExamples = phase == .live ? acceptedOffset : anchor
    if table.features.first >= 0 {
      let oldest = table.entries[Int(table.features.first)]
      header.rebuildFeatures = min(header.rebuildFeatures, oldest.offset)
      header.rebuildExamples = min(header.rebuildExamples, oldest.mark)
    }
    if table.labels.first >= 0 {
      let oldest = table.entries[Int(table.labels.first)]
      header.rebuildLabels = min(header.rebuildLabels, oldest.offset)
      header.rebuildExamples = min(header.rebuildExamples, oldest.mark)
    }
    header.watermarkMilliseconds = closedMilliseconds
    header.featuresCRC = featureCRC
    header.labelsCRC = labelCRC
    header.count = writer.count
    batchNumber += 1
    header.batch = identity(batchNumber)
    header.follows = sealedBatch
    sealedBatch = header.batch
    sealedFeatures = nextFeature
    sealedLabels = nextLabel
    sealedNanoseconds = now
    inFlight.append(header.batch, nanoseconds: now)
    counts.batches += 1
    if writer.count == 0 { counts.coveringBatches += 1 }
    onBatch(Batch(header: header, deadLetterCount: deadLetterCount), writer.finish(header))
    writer.begin()
  }

  /// Windows that end at this event time or before are closed.
  private var closedMilliseconds: Int64 {
    guard let tick = table.closedTick else { return .min }
    let (time, overflow) = tick.multipliedReportingOverflow(by: granule)
    return overflow ? .min : time
  }

  private func identity(_ number: UInt64) -> UInt64 {
    var random = JoinerRandom(seed: instance &+ number &* 0xD134_2543_DE82_EF95)
    let value = random.next()
    return value == 0 ? 1 : value
  }

  /// Features that run far ahead of the labels (or the other way round), as when a backlog is read, would fill the memory with
  /// events whose labels are only a few reads away: the one that is ahead waits.
  private func keepSourcesTogether() {
    guard let features = watermark.features.reached, let labels = watermark.labels.reached else {
      // One of them has shown nothing yet: until it has been read to its end, the other goes on only within bounds.
      pausedFeatures = watermark.labels.reached == nil && !watermark.labels.isCaughtUp && table.waiting.count >= leadMax
      pausedLabels = watermark.features.reached == nil && !watermark.features.isCaughtUp && table.labels.count >= leadMax
      return
    }
    let lead = max(1, settings.join.windowMilliseconds / 4)
    let ahead = features.subtractingReportingOverflow(labels).partialValue
    // Resumed at half the distance, so that pausing stays rare.
    pausedFeatures = !watermark.labels.isCaughtUp && ahead > (pausedFeatures ? lead / 2 : lead)
    pausedLabels = !watermark.features.isCaughtUp && -ahead > (pausedLabels ? lead / 2 : lead)
  }

  private var leadMax: Int { max(1, settings.join.waitingEventsMax / 2) }
}
