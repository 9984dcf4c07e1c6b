// Hot: no allocation, existential, String, await or Foundation per record in the steady state.
import UpdateLog

extension Trainer {
  /// Sends the batch being built. `drained`: the source has no more records for now, so shards that no
  /// example touched are covered too, and readers that wait for progress see it at once.
  public func flush(drained: Bool) {
    precondition(!emission.active, "perform the actions first")
    emission = Emission()
    emission.drained = drained
    if openSource >= 0 {
      emission.source = openSource
      emission.all = drained
      emission.active = true
    } else if drained {
      emission.all = true
      emission.source = nextUncoveredSource(after: -1)
      emission.active = emission.source >= 0
    }
  }

  /// The next thing to do, or nil when there is nothing. An append's bytes are valid until the next call.
  public func nextAction(nowNanoseconds: Int64) -> TrainerAction? {
    if !seeks.isEmpty {
      let seek = seeks.removeLast()
      return .seek(partition: seek.partition, offset: seek.offset)
    }
    while emission.active {
      while emission.shard < shardCount {
        let shard = emission.shard
        emission.shard += 1
        if let bytes = writeRecord(source: emission.source, shard: shard, nowNanoseconds: nowNanoseconds) {
          return .append(shard: shard, sourcePartition: sources[emission.source].partition, bytes: bytes)
        }
      }
      finishSource()
    }
    return nil
  }

  /// Starts handing out the open batch because another has to begin.
  func emitOpenBatch() {
    emission = Emission()
    emission.source = openSource
    emission.active = true
  }

  private func finishSource() {
    let source = emission.source
    if emission.records > 0 {
      batches.append(
        Batch(
          outstanding: emission.records, examples: Int32(truncatingIfNeeded: source == openSource ? openExamples : 0)))
      if source == openSource { inFlightExamples &+= openExamples }
      sequence &+= 1
    }
    let wasOpen = source == openSource
    if wasOpen { clearBatch() }
    emission.records = 0
    emission.shard = 0
    // The open batch's source may stand anywhere in the order: after it, begin at the first.
    emission.source = emission.all ? nextUncoveredSource(after: wasOpen ? -1 : source) : -1
    emission.active = emission.source >= 0
  }

  private func nextUncoveredSource(after source: Int) -> Int {
    if mutation.contains(.leaveUntouchedShards) { return -1 }
    var candidate = source + 1
    while candidate < sources.count {
      if case .reading = sources[candidate].phase {
        let position = sources[candidate].position
        for shard in 0..<shardCount where sources[candidate].uncovered[shard].next < position { return candidate }
      }
      candidate += 1
    }
    return -1
  }

  /// The record that covers `[next, position)` of a source for one shard, or nil when it can wait.
  private func writeRecord(source: Int, shard: Int, nowNanoseconds: Int64) -> UnsafeRawBufferPointer? {
    let uncovered = sources[source].uncovered[shard]
    let to = SourceProgress(sources[source].reader)
    guard uncovered.next < to.offset else { return nil }
    let isOpen = source == openSource
    let rowCount = isOpen ? speculation.batchRows(shard: shard) : 0
    let isHome = isOpen && !validation.isEmpty && shard == home(of: sources[source].partition)
    if rowCount == 0 && !isHome {
      if mutation.contains(.leaveUntouchedShards) { return nil }
      let due =
        emission.drained || to.offset &- uncovered.next >= settings.coverOffsetsMax
        || nowNanoseconds &- uncovered.sinceNanoseconds >= settings.coverDelayNanosecondsMax
      guard due else { return nil }
    }
    let replica = shards[shard]
    let trainer = identity & ~0xFFFF | UInt64(incarnation)
    let header = UpdateHeader(
      kind: .update, specHash: specificationHash, epoch: replica.acceptance.epoch,
      sourcePartition: sources[source].partition, from: uncovered.next, to: to, trainer: trainer,
      basis: (offset: replica.nextOffset, stateHash: replica.stateHash),
      eventTimeFromMilliseconds: uncovered.labelTimeMinimum == .max ? UpdateHeader.noTime : uncovered.labelTimeMinimum,
      eventTimeThroughMilliseconds: uncovered.labelTimeMaximum == .min ? UpdateHeader.noTime : uncovered.labelTimeMaximum,
      labelProducedNanoseconds: uncovered.labelProducedNanoseconds == .max ? 0 : uncovered.labelProducedNanoseconds,
      examples: uncovered.examples)
    let bytes = write(header, shard: shard, rows: rowCount, validates: isHome)
    inFlight[shard].append(
      InFlight(
        sequence: sequence, source: Int32(truncatingIfNeeded: source), resolved: false, from: uncovered.next,
        trainer: trainer, deadlineNanoseconds: nowNanoseconds &+ settings.ownRecordTimeoutNanoseconds))
    emission.records += 1
    sources[source].uncovered[shard] = .from(to.offset)
    counters.updatesSent &+= 1
    return bytes
  }

  private func write(_ header: UpdateHeader, shard: Int, rows: Int, validates: Bool) -> UnsafeRawBufferPointer {
    if rows == 0 && !validates {
      return writer.update(header, rows: 0) { _, _, _ in 0 }
    }
    if loss == nil {
      return writer.counts(header, rows: rows) { ids, counts in
        speculation.batchCounts(shard: shard, rows: rows, ids: ids, counts: counts)
      }
    }
    if validates {
      return writer.update(header, rows: rows, validation: validation) { ids, gradients, squares in
        speculation.batchSums(shard: shard, examples: header.examples, ids: ids, gradients: gradients, squares: squares)
      }
    }
    return writer.update(header, rows: rows) { ids, gradients, squares in
      speculation.batchSums(shard: shard, examples: header.examples, ids: ids, gradients: gradients, squares: squares)
    }
  }
}
