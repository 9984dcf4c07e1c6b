// Hot: no allocation, existential, String, await or Foundation per example in the steady state.
import Events
import Model
import UpdateLog

extension Trainer {
  /// Offers the examples record at `offset` of a partition. The bytes are borrowed for the call.
  ///
  /// - Parameter producedNanoseconds: when its oldest label was produced, by the wall clock; `Int64.max`: not
  ///   known. It travels in the update records, for freshness.
  public func take(
    partition: Int32, offset: Int64, record: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer? = nil,
    producedNanoseconds: Int64 = .max, nowNanoseconds: Int64
  ) -> TrainerIntake {
    precondition(!emission.active, "perform the actions first")
    guard let source = index(of: partition), case .reading = sources[source].phase else { return .ignored }
    if offset < sources[source].position { return .ignored }
    if offset > sources[source].position, !mutation.contains(.acceptGaps), !confirmGap(source, offset) {
      return .ignored
    }
    if openSource >= 0, openSource != source || openExamples >= settings.batchExamplesMax
      || inFlightExamples &+ openExamples >= inFlightExamplesLimit
    {
      emitOpenBatch()
      return .again
    }
    if inFlightExamples >= inFlightExamplesLimit { return .full }
    if openSource < 0 {
      openSource = source
      speculation.begin(sequence)
    }
    sources[source].gapOffset = -1
    counters.recordsTaken &+= 1
    learn(
      source: source, offset: offset, record: record, contentType: contentType,
      producedNanoseconds: producedNanoseconds, nowNanoseconds: nowNanoseconds)
    if speculation.isBroken { resync(source, nowNanoseconds: nowNanoseconds) }
    return .taken
  }

  /// A record came from beyond the position. Either what was in between was lost on its way and is still in the
  /// log, or there is nothing in between (control records of somebody's transactions). Seeking and seeing the same
  /// record again, several times, tells them apart; taking the first at its word would skip examples.
  private func confirmGap(_ source: Int, _ offset: Int64) -> Bool {
    if sources[source].gapOffset == offset {
      sources[source].gapSightings &+= 1
      if sources[source].gapSightings >= settings.gapSightingsMin { return true }
    } else {
      sources[source].gapOffset = offset
      sources[source].gapSightings = 1
    }
    let partition = sources[source].partition
    if !seeks.contains(where: { $0.partition == partition }) { seeks.append((partition, sources[source].position)) }
    return false
  }
}

extension Trainer {
  /// Takes one examples record whole: its examples into the batch being built, its place into what the
  /// next records cover.
  private func learn(
    source: Int, offset: Int64, record: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?,
    producedNanoseconds: Int64, nowNanoseconds: Int64
  ) {
    let readable = reader.read(record, contentType: contentType)
    var accepted = false
    if readable {
      accepted = sources[source].reader.accept(reader.header.claim, at: offset)
      if !accepted {
        counters.recordsRefused &+= 1
        accepted = mutation.contains(.learnRefusedRecords)
      }
    } else {
      sources[source].reader.skip(offset)
      counters.recordsInvalid &+= 1
    }
    var examples: Int32 = 0
    var timeMinimum = Int64.max
    var timeMaximum = Int64.min
    if accepted {
      let isWhole = markContributing(source: source, offset: offset)
      let countsForHome = contributing[home(of: sources[source].partition)] != 0
      var example = ExampleView()
      while reader.next(&example) {
        examples &+= 1
        let time = example.labelTimeMilliseconds
        if time != .min {
          timeMinimum = min(timeMinimum, time)
          timeMaximum = max(timeMaximum, time)
        }
        learn(example, shards: isWhole ? nil : contributing, validates: countsForHome)
      }
      openExamples &+= Int(examples)
    }
    for shard in 0..<shardCount where offset >= sources[source].uncovered[shard].next {
      sources[source].uncovered[shard].add(
        examples: examples, labelTimeMinimum: timeMinimum, labelTimeMaximum: timeMaximum,
        labelProducedNanoseconds: examples > 0 ? producedNanoseconds : .max, nowNanoseconds: nowNanoseconds)
    }
  }

  /// Which shards the record at `offset` contributes to: those whose progress has not passed it.
  /// - Returns: whether that is all of them.
  private func markContributing(source: Int, offset: Int64) -> Bool {
    var isWhole = true
    for shard in 0..<shardCount {
      let contributes = offset >= sources[source].uncovered[shard].next || mutation.contains(.contributeBeforeNext)
      contributing[shard] = contributes ? 1 : 0
      isWhole = isWhole && contributes
    }
    return isWhole
  }

  /// One example: decoded, predicted, then learned.
  private func learn(_ example: ExampleView, shards: UnsafeMutablePointer<UInt8>?, validates: Bool) {
    guard let loss else {
      // A count model counts entries, whatever is in them.
      speculation.count(id: RowID.count, shards: shards)
      counters.examplesLearned &+= 1
      return
    }
    guard let label = specification.label(raw: example.label) else {
      counters.examplesInvalid &+= 1
      return
    }
    rows.removeAll()
    guard decoder.decode(example.event, contentType: contentType(of: example.form), into: rows).ok else {
      counters.examplesInvalid &+= 1
      return
    }
    for row in 0..<rows.rowCount {
      let start = rows.start(ofRow: row)
      let count = Int(rows.rowEnds[row]) - start
      let margin = speculation.predict(ids: rows.ids + start, values: rows.values + start, count: count)
      let prediction = loss.score(sum: Double(margin))
      if validates { validation.add(sum: Double(margin), label: label, weight: example.weight, loss: loss) }
      let gradient = Float((prediction - label) * example.weight)
      speculation.learn(
        ids: rows.ids + start, values: rows.values + start, count: count, gradient: gradient, shards: shards)
    }
    counters.examplesLearned &+= 1
  }

  @inline(__always)
  private func contentType(of form: EventForm) -> UnsafeRawBufferPointer {
    let name = form.contentType
    return UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
  }
}
