// Hot: no allocation, existential, Foundation or String for a good record.
import Events
import Model

/// What a publish stream carries.
public enum PublishKind: UInt8, Sendable, CaseIterable {
  case events
  case labels
}

/// Checks records as those do that read them from Kafka: an event as the stream predictor, a label as the joiner. Owned by one thread.
final class RecordCheck {
  /// A record that was looked at. Slices are borrowed until the next check.
  struct Outcome {
    var ok: Bool
    var form: EventForm
    /// What decides the partition; empty when the record is too broken to say.
    var key: UnsafeRawBufferPointer
  }

  let kind: PublishKind
  private let events: [EventDecoder]
  private let labels: LabelDecoder
  private let models: [ModelSpecification]
  private let taken: [(labels: ClosedRange<Double>, weights: ClosedRange<Double>)]
  private let rows = RowBatch()
  @exclusivity(unchecked) private var noted: EventProblem?

  /// - Parameter models: those that read the topic; a record must suit one of them. None: only its form and id are checked.
  init(kind: PublishKind, models: [ModelSpecification], limits: EventLimits) {
    self.kind = kind
    self.models = models
    // Counts only: no feature is its own, so that any is passed over.
    let anything = ModelSpecification(name: "any", family: .count)
    events = kind == .events ? (models.isEmpty ? [anything] : models).map { EventDecoder(specification: $0, limits: limits) } : []
    labels = LabelDecoder(limits: limits)
    taken = models.map { ($0.labelRange, 0...max(0, $0.label.weightMax)) }
  }

  func check(_ record: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?) -> Outcome {
    kind == .events ? checkEvent(record, contentType) : checkLabel(record, contentType)
  }

  /// Why the last check failed. Call it while the record is still there.
  func problem() -> PublishProblem {
    PublishProblem(noted ?? EventProblem(reason: .other, message: "the record cannot be used"))
  }

  private func checkEvent(_ record: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) -> Outcome {
    noted = nil
    var outcome = Outcome(ok: false, form: .json, key: UnsafeRawBufferPointer(start: nil, count: 0))
    for index in 0..<events.count {
      let decoder = events[index]
      rows.removeAll()
      let event = decoder.decode(record, contentType: contentType, into: rows)
      outcome = Outcome(ok: event.ok, form: event.form, key: event.key)
      guard event.ok else {
        if noted == nil { noted = decoder.problem() }
        continue
      }
      if let label = event.label, let problem = outside(label, event.weight) {
        noted = problem
        outcome.ok = false
      }
      return outcome
    }
    return outcome
  }

  private func checkLabel(_ record: UnsafeRawBufferPointer, _ contentType: UnsafeRawBufferPointer?) -> Outcome {
    noted = nil
    let label = labels.decode(record, contentType: contentType)
    var outcome = Outcome(ok: label.ok, form: label.form, key: label.key)
    if !label.ok {
      noted = labels.problem()
    } else if let problem = outside(label.value, label.weight) {
      noted = problem
      outcome.ok = false
    }
    return outcome
  }

  /// Nil when one of the models takes the label.
  private func outside(_ label: Double, _ weight: Double) -> EventProblem? {
    if taken.isEmpty { return nil }
    for index in 0..<taken.count where taken[index].labels.contains(label) && taken[index].weights.contains(weight) { return nil }
    return refuse(label, weight)
  }

  private func refuse(_ label: Double, _ weight: Double) -> EventProblem {
    func text(_ ranges: [ClosedRange<Double>]) -> String {
      ranges.map { "\($0.lowerBound) to \($0.upperBound)" }.joined(separator: " or ")
    }
    if taken.contains(where: { $0.labels.contains(label) }) {
      return EventProblem(
        reason: .numberOutOfRange, field: "weight", message: "\(weight) is outside of what the model takes: \(text(taken.map(\.weights)))")
    }
    return EventProblem(
      reason: .labelOutOfRange, field: "label", message: "\(label) is outside of what the model takes: \(text(taken.map(\.labels)))")
  }
}
