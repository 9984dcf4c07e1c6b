// Hot: no allocation, existential, Foundation or String in the steady state.
internal import CKernels
public import Events
internal import Model

/// What becomes of each record.
extension Joiner {
  // MARK: Features

  /// A feature event of one row.
  /// - Parameters:
  ///   - timeMilliseconds: event time; the record's timestamp when the event does not say.
  ///   - label: of an event that brings its outcome along: it is decided at once.
  ///   - record: the whole record value.
  public func feature(
    offset: Int64, id: UnsafeRawBufferPointer, timeMilliseconds: Int64, form: EventForm, label: Double? = nil, weight: Double = 1,
    record: UnsafeRawBufferPointer
  ) {
    guard let isNew = takeFeature(offset, record) else { return }
    guard record.count <= settings.eventBytesMax else {
      guard isNew else { return rereadFeature(offset) }
      counts.skippedFeatures += 1
      return tookFeature(offset, record)
    }
    let time = clamp(timeMilliseconds)
    watermark.sawFeature(time, now)
    let hash = JoinerTable.hash(id)
    let slot = table.find(id, hash: hash)
    if !isNew {
      remember(offset, id, hash, slot, time, form, label != nil, record)
    } else if slot < 0 {
      newFeature(offset, id, hash, time, form, label, weight, record)
    } else if table.entries[Int(slot)].kind == .label {
      meetLabel(offset, slot, id, time, form, record)
    } else {
      counts.duplicateFeatures += 1
    }
    if isNew { tookFeature(offset, record) } else { rereadFeature(offset) }
  }

  /// A feature record that no example can come from: unusable, or of several rows.
  public func skipFeature(offset: Int64, record: UnsafeRawBufferPointer) {
    guard let isNew = takeFeature(offset, record) else { return }
    watermark.sawFeature(now)
    guard isNew else { return rereadFeature(offset) }
    counts.skippedFeatures += 1
    tookFeature(offset, record)
  }

  /// Only now may a batch cover the record.
  @inline(__always)
  private func tookFeature(_ offset: Int64, _ record: UnsafeRawBufferPointer) {
    counts.features += 1
    featureCRC = mr_crc32c(0, record.baseAddress, record.count)
    nextFeature = offset + 1
  }

  /// The last covered record ends the reading again.
  private func rereadFeature(_ offset: Int64) {
    if offset == nextFeature - 1 { featuresRebuilt() }
  }

  private func rereadLabel(_ offset: Int64) {
    rebuildLabel = offset + 1
    if offset == nextLabel - 1 { labelsRebuilt() }
  }

  @inline(__always)
  private func tookLabel(_ offset: Int64, _ record: UnsafeRawBufferPointer) {
    counts.labels += 1
    labelCRC = mr_crc32c(0, record.baseAddress, record.count)
    nextLabel = offset + 1
  }

  /// Whether the record is taken: nil when it is not (it is old, or comes in the wrong phase), false when it is read again.
  private func takeFeature(_ offset: Int64, _ record: UnsafeRawBufferPointer) -> Bool? {
    guard seekFeatures == nil else { return nil }
    if phase == .live {
      guard offset >= nextFeature, offset < .max else { return nil }
      watermark.setCaughtUp(features: false)
      return true
    }
    guard phase == .rebuildingFeatures else { return nil }
    guard offset < nextFeature else {
      featuresRebuilt()
      return nil
    }
    if offset == nextFeature - 1, let last, mr_crc32c(0, record.baseAddress, record.count) != last.featuresCRC {
      fail(.sourceReplaced(topic: .features, offset: offset))
      return nil
    }
    return false
  }

  private func newFeature(
    _ offset: Int64, _ id: UnsafeRawBufferPointer, _ hash: UInt64, _ time: Int64, _ form: EventForm, _ label: Double?, _ weight: Double,
    _ record: UnsafeRawBufferPointer
  ) {
    let tick = tick(time)
    if let label {
      decide(
        id: id, eventTime: time, labelTime: time, value: label, weight: weight, featureOffset: offset, labelOffset: -1, form: form,
        event: record)
      if !table.isClosed(tick) { add(offset, id, hash, time, tick, .done) }
      return
    }
    // Its window is over: whether it was decided before is not known any more.
    if table.isClosed(tick) {
      counts.lateFeatures += 1
      return
    }
    wait(offset, id, hash, time, tick, form, record)
  }

  private func wait(
    _ offset: Int64, _ id: UnsafeRawBufferPointer, _ hash: UInt64, _ time: Int64, _ tick: Int64, _ form: EventForm,
    _ record: UnsafeRawBufferPointer
  ) {
    let slot = add(offset, id, hash, time, tick, .waiting)
    table.entries[Int(slot)].form = form
    table.entries[Int(slot)].payload = table.payloads.store(record, owner: slot)
  }

  @discardableResult
  private func add(
    _ offset: Int64, _ id: UnsafeRawBufferPointer, _ hash: UInt64, _ time: Int64, _ tick: Int64, _ kind: JoinerEntry.Kind
  ) -> Int32 {
    let slot = table.insert(id, hash: hash)
    table.entries[Int(slot)].offset = offset
    table.entries[Int(slot)].time = time
    table.entries[Int(slot)].mark = phase == .live ? acceptedOffset : anchor
    table.link(slot, as: kind)
    table.schedule(slot, tick: tick)
    return slot
  }

  /// The event of an early label.
  private func meetLabel(
    _ offset: Int64, _ slot: Int32, _ id: UnsafeRawBufferPointer, _ time: Int64, _ form: EventForm, _ record: UnsafeRawBufferPointer
  ) {
    let label = table.entries[Int(slot)]
    counts.matched += 1
    decide(
      id: id, eventTime: time, labelTime: label.time, value: label.value, weight: label.weight, featureOffset: offset,
      labelOffset: label.offset, form: form, event: record)
    table.unlinkLabel(slot)
    table.entries[Int(slot)].offset = offset
    table.entries[Int(slot)].time = time
    table.entries[Int(slot)].form = form
    table.entries[Int(slot)].mark = acceptedOffset
    table.link(slot, as: .done)
    table.schedule(slot, tick: max(tick(time), label.tick))
  }

  /// A feature that was covered before this start: waits or counts as done, as the log says.
  private func remember(
    _ offset: Int64, _ id: UnsafeRawBufferPointer, _ hash: UInt64, _ slot: Int32, _ time: Int64, _ form: EventForm,
    _ hasLabel: Bool, _ record: UnsafeRawBufferPointer
  ) {
    guard slot < 0 else { return }
    if let decided = history.features[offset] {
      let tick = decided.labelTime == .min ? tick(time) : max(tick(time), self.tick(min(decided.labelTime, watermark.ceiling)))
      guard !table.isClosed(tick) else { return }
      let slot = add(offset, id, hash, time, tick, .done)
      table.entries[Int(slot)].expired = decided.expired
      return
    }
    let tick = tick(time)
    // Closed and without an example: dropped, sampled out, or too late.
    if table.isClosed(tick) { return }
    if hasLabel {
      // It brought its outcome along and was sampled out.
      add(offset, id, hash, time, tick, .done)
      return
    }
    wait(offset, id, hash, time, tick, form, record)
  }

  // MARK: Labels

  /// A label.
  /// - Parameter record: the whole record value, for the dead letters.
  public func label(
    offset: Int64, id: UnsafeRawBufferPointer, timeMilliseconds: Int64, value: Double, weight: Double, form: EventForm,
    record: UnsafeRawBufferPointer
  ) {
    guard let isNew = takeLabel(offset, record) else { return }
    let time = clamp(timeMilliseconds)
    watermark.sawLabel(time, now)
    if isNew || !history.labels.contains(offset) {
      let hash = JoinerTable.hash(id)
      let slot = table.find(id, hash: hash)
      if slot < 0 {
        earlyLabel(offset, id, hash, time, value, weight, form, record, isNew)
      } else {
        knownLabel(offset, slot, id, time, value, weight, form, record, isNew)
      }
    }
    if isNew { tookLabel(offset, record) } else { rereadLabel(offset) }
  }

  /// A label record that cannot be used. The shell has sent it to the dead letters, and batches that cover it wait for that.
  public func badLabel(offset: Int64, record: UnsafeRawBufferPointer) {
    guard let isNew = takeLabel(offset, record) else { return }
    watermark.sawLabel(now)
    guard isNew else { return rereadLabel(offset) }
    counts.skippedLabels += 1
    deadLetterCount += 1
    tookLabel(offset, record)
  }

  /// Whether a label at `offset` would be new: only then its dead letter is due.
  public func isNewLabel(_ offset: Int64) -> Bool { phase == .live && seekLabels == nil && offset >= nextLabel }

  /// Whether a record at `offset` would be taken; others need not be decoded.
  public func takesFeature(_ offset: Int64) -> Bool {
    seekFeatures == nil && (phase == .rebuildingFeatures || (phase == .live && offset >= nextFeature))
  }
  public func takesLabel(_ offset: Int64) -> Bool {
    seekLabels == nil && (phase == .rebuildingLabels || (phase == .live && offset >= nextLabel))
  }

  private func takeLabel(_ offset: Int64, _ record: UnsafeRawBufferPointer) -> Bool? {
    guard seekLabels == nil else { return nil }
    if phase == .live {
      guard offset >= nextLabel, offset < .max else { return nil }
      watermark.setCaughtUp(labels: false)
      return true
    }
    guard phase == .rebuildingLabels else { return nil }
    guard offset < nextLabel else {
      labelsRebuilt()
      return nil
    }
    if offset == nextLabel - 1, let last, mr_crc32c(0, record.baseAddress, record.count) != last.labelsCRC {
      fail(.sourceReplaced(topic: .labels, offset: offset))
      return nil
    }
    return false
  }

  private func earlyLabel(
    _ offset: Int64, _ id: UnsafeRawBufferPointer, _ hash: UInt64, _ time: Int64, _ value: Double, _ weight: Double, _ form: EventForm,
    _ record: UnsafeRawBufferPointer, _ isNew: Bool
  ) {
    let tick = tick(time)
    if table.isClosed(tick) {
      // Read again, it was dealt with before.
      if isNew {
        counts.labelsWithoutEvent += 1
        deadLetter(offset, .withoutEvent, form, record)
      }
      return
    }
    if isNew { counts.earlyLabels += 1 }
    let slot = add(offset, id, hash, time, tick, .label)
    table.entries[Int(slot)].value = value
    table.entries[Int(slot)].weight = weight
    table.entries[Int(slot)].form = form
    table.entries[Int(slot)].payload = table.payloads.store(record, owner: slot)
  }

  private func knownLabel(
    _ offset: Int64, _ slot: Int32, _ id: UnsafeRawBufferPointer, _ time: Int64, _ value: Double, _ weight: Double, _ form: EventForm,
    _ record: UnsafeRawBufferPointer, _ isNew: Bool
  ) {
    let entry = table.entries[Int(slot)]
    switch entry.kind {
    case .waiting:
      counts.matched += 1
      decide(
        id: id, eventTime: entry.time, labelTime: time, value: value, weight: weight, featureOffset: entry.offset, labelOffset: offset,
        form: entry.form, event: table.payloads.bytes(entry.payload))
      table.finish(slot, expired: false)
      let later = tick(time)
      if later > entry.tick {
        // Duplicates of the label are known for as long as the label's own window.
        table.leaveWheel(slot)
        table.schedule(slot, tick: later)
      }
    case .done where entry.expired:
      guard isNew else { return }
      counts.lateLabels += 1
      deadLetter(offset, .afterExpiry, form, record)
    case .done, .label:
      if isNew { counts.duplicateLabels += 1 }
    case .free: break
    }
  }

  private func deadLetter(_ offset: Int64, _ problem: LabelProblem, _ form: EventForm, _ record: UnsafeRawBufferPointer) {
    deadLetterCount += 1
    onDeadLetter(offset, problem, form, record)
  }

  /// A wild event time must not close every window, nor wait forever.
  @inline(__always)
  private func clamp(_ time: Int64) -> Int64 {
    if time <= watermark.ceiling { return time }
    counts.clampedTimes += 1
    return watermark.ceiling
  }

  // MARK: Decisions

  /// Adds an example to the open batch, or leaves it out by sampling. Seals first when it does not fit: called before
  /// anything of the record it comes from is remembered.
  private func decide(
    id: UnsafeRawBufferPointer, eventTime: Int64, labelTime: Int64, value: Double, weight: Double, featureOffset: Int64,
    labelOffset: Int64, form: EventForm, event: UnsafeRawBufferPointer, expired: Bool = false
  ) {
    var weight = weight
    let isNegative = settings.positiveAbove.map { !(value > $0) } ?? (value == 0)
    if isNegative {
      guard settings.join.keepsNegative(id: id) else {
        counts.sampledOut += 1
        return
      }
      if settings.join.negativesKept < 1 { weight /= settings.join.negativesKept }
    }
    if writer.count > 0, Int(writer.count) >= settings.batchExamplesMax || writer.byteCount + event.count + 256 + id.count > settings.batchBytesMax {
      seal()
    }
    var example = ExampleView()
    example.id = id
    example.eventTimeMilliseconds = eventTime
    example.labelTimeMilliseconds = labelTime
    example.label = value
    example.weight = weight
    example.featureOffset = featureOffset
    example.labelOffset = labelOffset
    example.expired = expired
    example.form = form
    example.event = event
    writer.append(example)
    if expired { counts.expiredNegatives += 1 }
  }

  /// The window of a waiting event is over, or it must go early.
  private func expire(_ slot: Int32) {
    counts.expired += 1
    guard settings.join.onExpiry == .negative else { return }
    let entry = table.entries[Int(slot)]
    decide(
      id: table.ids.bytes(entry.id), eventTime: entry.time, labelTime: .min, value: 0, weight: 1, featureOffset: entry.offset,
      labelOffset: -1, form: entry.form, event: table.payloads.bytes(entry.payload), expired: true)
  }

  /// Closes windows as far as the watermark says and batches have room.
  func closeWindows() {
    guard let time = watermark.current else { return }
    _ = table.close(through: tickPassed(time)) { slot in
      let entry = table.entries[Int(slot)]
      switch entry.kind {
      case .waiting: expire(slot)
      case .label:
        counts.labelsWithoutEvent += 1
        deadLetter(entry.offset, .withoutEvent, entry.form, table.payloads.bytes(entry.payload))
      case .done, .free: break
      }
      table.remove(slot)
      return inFlight.count < settings.inFlightBatchesMax
    }
  }

  /// Keeps what waits within its bounds: the oldest go early, and are counted.
  func evict() {
    let most = settings.join.waitingEventsMax
    while table.waiting.count > most, inFlight.count < settings.inFlightBatchesMax {
      let slot = table.waiting.first
      expire(slot)
      counts.evictedEvents += 1
      table.finish(slot, expired: true)
    }
    while table.labels.count > most {
      let slot = table.labels.first
      let entry = table.entries[Int(slot)]
      counts.evictedLabels += 1
      deadLetter(entry.offset, .waitingFull, entry.form, table.payloads.bytes(entry.payload))
      table.remove(slot)
    }
    while table.done.count > most * 2 {
      counts.evictedDone += 1
      table.remove(table.done.first)
    }
  }
}
