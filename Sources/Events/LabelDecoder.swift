// Hot: no allocation, existential, Foundation or String in the steady state.
import CMessages

/// Reads label records in JSON and protobuf. Owned by one thread.
public final class LabelDecoder {
  private let scanner: RecordScanner
  @exclusivity(unchecked) private var noted = NotedProblem()

  public init(limits: EventLimits = .init()) {
    scanner = RecordScanner(limits: limits)
  }

  /// The label in `payload`. Its slices live until the next call, as long as the payload does.
  public func decode(_ payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?) -> DecodedLabel {
    var ok = scanner.scan(payload, contentType: contentType, as: .label)
    if !ok {
      noted = scanner.noted
    } else if !scanner.event.has_label {
      noted = .init(.missingLabel, field: "label", "a label must have a value")
      ok = false
    }
    let event = scanner.event
    return DecodedLabel(
      ok: ok, form: scanner.form, id: event.idBytes, key: event.keyBytes, eventTimeMilliseconds: event.timeMilliseconds,
      value: event.label, weight: event.has_weight ? event.weight : 1)
  }

  /// Why the last `decode` failed. Allocates. Call it while the payload is still there.
  public func problem() -> EventProblem { noted.problem }
}
