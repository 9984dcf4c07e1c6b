// Hot: no allocation, existential, Foundation or String in the steady state (Tests/EventsTests/AllocationTests counts).
import CMessages
public import Model

/// Turns records of events into rows of a model. One for each thread and model.
///
/// A record becomes rows as a whole or not at all. Features that the model does not have are ignored and counted; features that the
/// event does not have are absent.
public final class EventDecoder {
  public let specification: ModelSpecification
  private let scanner: RecordScanner
  private let assembler: FeatureAssembler
  /// The record in which feature i was last given, to notice one given twice.
  private let lastGiven: UnsafeMutablePointer<UInt64>
  @exclusivity(unchecked) private var recordNumber: UInt64 = 0
  /// The model's feature of each tensor of a V2 request; -1: none.
  private let tensorFeatures: UnsafeMutablePointer<Int32>
  @exclusivity(unchecked) private var noted = NotedProblem()
  @exclusivity(unchecked) private var unknownFeatures = 0

  /// `specification` must be valid.
  public init(specification: ModelSpecification, limits: EventLimits = .init()) {
    self.specification = specification
    scanner = RecordScanner(limits: limits)
    assembler = FeatureAssembler(specification: specification)
    lastGiven = .allocate(capacity: max(1, assembler.featureCount))
    lastGiven.initialize(repeating: 0, count: max(1, assembler.featureCount))
    tensorFeatures = .allocate(capacity: limits.valuesMax)
    tensorFeatures.initialize(repeating: -1, count: limits.valuesMax)
  }

  deinit {
    lastGiven.deallocate()
    tensorFeatures.deallocate()
  }

  /// Appends the record's rows to `batch`; appends nothing when it fails. Slices of the result live until the next call, as long as the
  /// payload does. `contentType`: the record's header; nil lets the bytes decide.
  public func decode(
    _ payload: UnsafeRawBufferPointer, contentType: UnsafeRawBufferPointer?, into batch: RowBatch
  ) -> DecodedEvent {
    unknownFeatures = 0
    recordNumber += 1
    let firstRow = batch.rowCount
    var ok = scanner.scan(payload, contentType: contentType, as: .event)
    if ok {
      ok = scanner.form == .v2 ? appendTensors(to: batch) : appendFields(to: batch)
      if !ok { batch.rollback(toRow: firstRow) }
    } else {
      noted = scanner.noted
    }
    let event = scanner.event
    return DecodedEvent(
      ok: ok, form: scanner.form, rowCount: batch.rowCount - firstRow, id: event.idBytes, key: event.keyBytes,
      eventTimeMilliseconds: event.timeMilliseconds, label: event.has_label ? event.label : nil,
      weight: event.has_weight ? event.weight : 1, unknownFeatures: unknownFeatures)
  }

  /// Why the last `decode` failed. Allocates. Call it while the payload is still there.
  public func problem() -> EventProblem { noted.problem }

  // MARK: One row

  private func appendFields(to batch: RowBatch) -> Bool {
    assembler.begin()
    guard let fields = scanner.event.fields else { return true }
    let count = Int(scanner.event.field_count)
    var index = -1
    for i in 0..<count {
      let field = fields + i
      let name = UnsafeRawBufferPointer(start: field.pointee.name, count: Int(field.pointee.name_length))
      if !field.pointee.is_continued {
        index = assembler.index(ofName: name)
        if index < 0 {
          unknownFeatures += 1
          continue
        }
        if lastGiven[index] == recordNumber {
          noted = .init(.duplicateFeature, field: name, "the feature is given twice; several values of one stand in a list")
          return false
        }
        lastGiven[index] = recordNumber
      }
      if index >= 0, !add(field, to: index) {
        return refuse(index, name: name, isNested: field.pointee.kind == UInt8(MR_KIND_NESTED.rawValue))
      }
    }
    assembler.finish(into: batch)
    return true
  }

  @inline(__always)
  private func add(_ field: UnsafePointer<mr_field>, to index: Int) -> Bool {
    switch mr_kind(UInt32(field.pointee.kind)) {
    case MR_KIND_TEXT:
      return assembler.categorical(index, UnsafeRawBufferPointer(start: field.pointee.text, count: Int(field.pointee.text_length)))
    case MR_KIND_INTEGER: return assembler.integer(index, field.pointee.integer)
    case MR_KIND_NUMBER: return assembler.numeric(index, field.pointee.number)
    case MR_KIND_FLAG:
      let value = field.pointee.integer
      return assembler.kind(of: index) == .numeric ? assembler.numeric(index, Double(value)) : assembler.boolean(index, value != 0)
    case MR_KIND_UNSIGNED: return assembler.unsigned(index, UInt64(bitPattern: field.pointee.integer))
    case MR_KIND_ABSENT: return true
    default: return false
    }
  }

  /// Cold.
  private func refuse(_ index: Int, name: UnsafeRawBufferPointer, isNested: Bool) -> Bool {
    if isNested {
      noted = .init(.wrongType, field: name, "a feature's value is a text, a number, a boolean or a list of these, not nested further")
      return false
    }
    switch assembler.problem {
    case .notFinite:
      noted = .init(.notFinite, field: name, "the value is not a finite number, or its transform makes it none")
    case .tooManyValues:
      noted = .init(.tooManyValues, field: name, "more values than the model declares for this feature")
    case .none, .wrongType:
      noted =
        assembler.kind(of: index) == .numeric
        ? .init(.wrongType, field: name, "the feature is numeric: expected a number")
        : .init(.wrongType, field: name, "the feature is categorical: expected a text, a whole number or a boolean")
    }
    return false
  }

  // MARK: Rows of a V2 request

  private func appendTensors(to batch: RowBatch) -> Bool {
    let request = scanner.request
    guard let tensors = request.tensors else { return true }
    let tensorCount = Int(request.tensor_count)
    assembler.begin()
    for t in 0..<tensorCount {
      let name = UnsafeRawBufferPointer(start: tensors[t].name, count: Int(tensors[t].name_length))
      let index = assembler.index(ofName: name)
      tensorFeatures[t] = Int32(index)
      if index < 0 {
        unknownFeatures += 1
        continue
      }
      if lastGiven[index] == recordNumber {
        noted = .init(.duplicateFeature, field: name, "two inputs have this name")
        return false
      }
      lastGiven[index] = recordNumber
    }
    var field = mr_field()
    for row in 0..<Int(request.rows) {
      if row > 0 { assembler.begin() }
      for t in 0..<tensorCount where tensorFeatures[t] >= 0 {
        let index = Int(tensorFeatures[t])
        // Within the decoder's bound on values: `mr_infer_request_read` has checked.
        let columns = Int(tensors[t].columns)
        for _ in 0..<columns {
          mr_tensor_next(tensors + t, &field)
          // A matrix has room for the row with the most values: in the others, empty texts fill it up.
          if columns > 1, field.kind == UInt8(MR_KIND_TEXT.rawValue), field.text_length == 0 { continue }
          guard add(&field, to: index) else {
            return refuse(
              index, name: UnsafeRawBufferPointer(start: tensors[t].name, count: Int(tensors[t].name_length)), isNested: false)
          }
        }
      }
      assembler.finish(into: batch)
    }
    return true
  }
}
