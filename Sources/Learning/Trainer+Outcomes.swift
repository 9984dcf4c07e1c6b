// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
public import UpdateLog

extension Trainer {
  /// The replica of `shard` has applied (`accepted`) or dropped an update record, its own or anyone's.
  /// Call it in log order, after `flush`.
  public func observe(shard: Int, record: UpdateRecordView, accepted: Bool, nowNanoseconds: Int64) {
    precondition(!emission.active && openSource < 0, "flush and perform the actions before outcomes")
    let header = record.header
    guard header.kind == .update else { return }
    if accepted, shard == home(of: header.sourcePartition) { learnedExamples &+= Int(header.examples) }
    guard header.trainer >> 16 == identity >> 16, let place = placeInFlight(shard: shard, header) else { return }
    var own = inFlight[shard][place]
    own.resolved = true
    inFlight[shard][place] = own
    discardResolved(shard: shard)
    settle(own.sequence)
    let source = Int(own.source)
    if accepted {
      counters.updatesAccepted &+= 1
      sources[source].attempt = 0
      speculation.applied(shard: shard, record, through: own.sequence)
    } else {
      counters.updatesDropped &+= 1
      resync(source, nowNanoseconds: nowNanoseconds)
    }
  }

  /// An append for this source was refused or failed: what is in flight for it is worthless.
  public func appendFailed(sourcePartition: Int32, nowNanoseconds: Int64) {
    precondition(!emission.active, "perform the actions first")
    guard let source = index(of: sourcePartition), case .reading = sources[source].phase else { return }
    counters.updatesLost &+= 1
    resync(source, nowNanoseconds: nowNanoseconds)
  }

  /// Where the record stands among those in flight, or nil when it is not awaited (any more).
  private func placeInFlight(shard: Int, _ header: UpdateHeader) -> Int? {
    var place = 0
    while place < inFlight[shard].count {
      let own = inFlight[shard][place]
      if !own.resolved, own.trainer == header.trainer, own.from == header.from,
        sources[Int(own.source)].partition == header.sourcePartition
      {
        return place
      }
      place &+= 1
    }
    return nil
  }

  private func discardResolved(shard: Int) {
    while inFlight[shard].count > 0, inFlight[shard][0].resolved { inFlight[shard].removeFirst() }
  }

  /// One record of batch `sequence` is no longer in flight.
  private func settle(_ sequence: Int64) {
    let place = Int(sequence &- firstBatch)
    var batch = batches[place]
    batch.outstanding &-= 1
    if batch.outstanding == 0 { inFlightExamples &-= Int(batch.examples) }
    batches[place] = batch
    while batches.count > 0, batches[0].outstanding == 0 { batches.removeFirst() }
  }

  /// The oldest batch's sequence number; batches are numbered without gaps.
  private var firstBatch: Int64 { sequence &- Int64(batches.count) }

  /// Forgets what is in flight for a source, and starts it again from the replica's progress after a
  /// random delay that doubles with each attempt. Never reloads: the replica is right, the trainer was
  /// not.
  func resync(_ source: Int, nowNanoseconds: Int64) {
    if mutation.contains(.keepNextAfterDrop) { return }
    counters.resyncs &+= 1
    abandon(source)
    let attempt = min(sources[source].attempt, 30)
    sources[source].attempt = attempt + 1
    let ceiling = min(settings.backoffNanosecondsMax, settings.backoffBaseNanoseconds << Int64(attempt))
    let delay = Int64(truncatingIfNeeded: random.next() % UInt64(max(1, ceiling)))
    sources[source].phase = .backingOff(untilNanoseconds: nowNanoseconds &+ delay)
  }

  /// Drops all that is in flight or being built for a source.
  func abandon(_ source: Int) {
    for shard in 0..<shardCount {
      for place in 0..<inFlight[shard].count {
        var own = inFlight[shard][place]
        guard !own.resolved, Int(own.source) == source else { continue }
        own.resolved = true
        inFlight[shard][place] = own
        settle(own.sequence)
      }
      discardResolved(shard: shard)
    }
    let open = openSource
    if open >= 0 {
      clearBatch()
      // Its rows go with all the others': it starts over, at once.
      if open != source {
        abandon(open)
        sources[open].phase = .backingOff(untilNanoseconds: .min)
      }
    }
    // What other sources have in flight is forgotten too: their next touch starts from the replica's
    // rows, a little stale, and no worse than that.
    speculation.removeAll()
    incarnation &+= 1
  }

  /// Forgets the batch being built.
  func clearBatch() {
    openSource = -1
    openExamples = 0
    speculation.end()
    validation.removeAll()
  }

  // MARK: Time

  /// Starts sources whose back-off is over, and gives up on own records that are overdue.
  public func tick(nowNanoseconds: Int64) {
    precondition(!emission.active && openSource < 0, "flush and perform the actions before time passes")
    if !mutation.contains(.waitForever) {
      for shard in 0..<shardCount where inFlight[shard].count > 0 {
        let oldest = inFlight[shard][0]
        guard oldest.deadlineNanoseconds <= nowNanoseconds else { continue }
        counters.updatesLost &+= 1
        resync(Int(oldest.source), nowNanoseconds: nowNanoseconds)
      }
    }
    for source in sources.indices {
      guard case .backingOff(let until) = sources[source].phase, until <= nowNanoseconds else { continue }
      start(source, nowNanoseconds: nowNanoseconds)
    }
  }

  /// When `tick` has to be called at the latest; `Int64.max`: no need.
  public var deadlineNanoseconds: Int64 {
    var deadline = Int64.max
    for shard in 0..<shardCount where inFlight[shard].count > 0 {
      deadline = min(deadline, inFlight[shard][0].deadlineNanoseconds)
    }
    for source in sources {
      if case .backingOff(let until) = source.phase { deadline = min(deadline, until) }
    }
    return deadline
  }

  /// Begins reading a source where the replica stands: the shard that is furthest behind says from
  /// where, and each shard takes only what lies beyond its own progress.
  private func start(_ source: Int, nowNanoseconds: Int64) {
    let partition = sources[source].partition
    if shards.contains(where: { $0.acceptance.isFrozen }) {
      sources[source].phase = .backingOff(
        untilNanoseconds: nowNanoseconds &+ settings.backoffNanosecondsMax / 8)
      return
    }
    var least = shards[0].acceptance.progress(of: partition)
    var greatest = least
    for shard in 0..<shardCount {
      let progress = shards[shard].acceptance.progress(of: partition)
      sources[source].uncovered[shard] = .from(progress.offset)
      if progress.offset < least.offset { least = progress }
      if progress.offset > greatest.offset { greatest = progress }
    }
    if mutation.contains(.readFromGreatestNext) { least = greatest }
    sources[source].reader = ExamplesReaderState(least)
    sources[source].gapOffset = -1
    sources[source].phase = .reading
    seeks.append((partition, least.offset))
  }
}
