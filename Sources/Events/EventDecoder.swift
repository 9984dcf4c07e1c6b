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
  private let tensors: TensorRows
  @exclusivity(unchecked) private var noted = NotedProblem()
  @exclusivity(unchecked) private var unknownFeatures = 0

  /// `specification` must be valid.
  public init(specification: ModelSpecification, limits: EventLimits = .init()) {
    self.specification = specification
    scanner = RecordScanner(limits: limits)
    assembler = FeatureAssembler(specification: specification)
    tensors = TensorRows(assembler: assembler, inputsMax: limits.valuesMax, unknownInputs: .ignored)
    lastGiven = .allocate(capacity: max(1, assembler.nameCount))
    lastGiven.initialize(repeating: 0, count: max(1, assembler.nameCount))
  }

  deinit { lastGiven.deallocate() }

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
      if scanner.form == .v2 {
        ok = tensors.append(scanner.request, to: batch)
        unknownFeatures = tensors.unknownInputs
        if !ok { noted = tensors.noted }
      } else {
        ok = appendFields(to: batch)
        if !ok { batch.rollback(toRow: firstRow) }
      }
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
      if index >= 0, !assembler.add(field, to: index) {
        return refuse(index, name: name, isNested: field.pointee.kind == UInt8(MR_KIND_NESTED.rawValue))
      }
    }
    if assembler.finish(into: batch) { return true }
    // A vector that is not whole: its name is where it was given.
    for i in 0..<count {
      let name = UnsafeRawBufferPointer(start: fields[i].name, count: Int(fields[i].name_length))
      if assembler.index(ofName: name) == assembler.problemFeature { return refuse(assembler.problemFeature, name: name, isNested: false) }
    }
    return refuse(assembler.problemFeature, name: UnsafeRawBufferPointer(start: nil, count: 0), isNested: false)
  }

  /// Cold.
  private func refuse(_ index: Int, name: UnsafeRawBufferPointer, isNested: Bool) -> Bool {
    noted =
      isNested
      ? .init(.wrongType, field: name, "a feature's value is a text, a number, a boolean or a list of these, not nested further")
      : .init(refusedBy: assembler, feature: index, name: name)
    return false
  }
}

extension FeatureAssembler {
  /// One value of feature `index`. False when it was refused; `problem` says why, or nothing for one that is nested.
  @inline(__always)
  func add(_ field: UnsafePointer<mr_field>, to index: Int) -> Bool {
    switch mr_kind(UInt32(field.pointee.kind)) {
    case MR_KIND_TEXT:
      return categorical(index, UnsafeRawBufferPointer(start: field.pointee.text, count: Int(field.pointee.text_length)))
    case MR_KIND_INTEGER: return integer(index, field.pointee.integer)
    case MR_KIND_NUMBER: return numeric(index, field.pointee.number)
    case MR_KIND_FLAG:
      let value = field.pointee.integer != 0
      return switch kind(of: index) {
      case .categorical, .tensor: boolean(index, value)
      case .numeric, .vector: numeric(index, value ? 1 : 0)
      }
    case MR_KIND_UNSIGNED: return unsigned(index, UInt64(bitPattern: field.pointee.integer))
    case MR_KIND_ABSENT: return null(index)
    default: return false
    }
  }
}

extension NotedProblem {
  /// Why `assembler` refused a value of feature `index`.
  init(refusedBy assembler: FeatureAssembler, feature index: Int, name: UnsafeRawBufferPointer) {
    switch assembler.problem {
    case .notFinite: self = .init(.notFinite, field: name, "the value is not a finite number, or its transform makes it none")
    case .tooManyValues: self = .init(.tooManyValues, field: name, "more values than the model declares for this feature")
    case .tooFewValues where assembler.kind(of: index) == .vector:
      self = .init(.invalidShape, field: name, "fewer numbers than the vector's size")
    case .tooFewValues: self = .init(.invalidShape, field: name, "fewer values than the input has elements")
    case .notExact: self = .init(.numberOutOfRange, field: name, "a number that the input's datatype does not hold")
    case .absent: self = .init(.missingFeature, field: name, "it is not given, and the model has nothing to put in its place")
    case .givenTwice:
      self = .init(.duplicateFeature, field: name, "the input is given as a whole and by one of its columns too")
    case .none, .wrongType:
      switch assembler.kind(of: index) {
      case .numeric: self = .init(.wrongType, field: name, "the feature is numeric: expected a number")
      case .vector: self = .init(.wrongType, field: name, "the feature is a vector: expected a list of numbers")
      case .categorical: self = .init(.wrongType, field: name, "the feature is categorical: expected a text, a whole number or a boolean")
      case .tensor where assembler.categories(of: index) != nil:
        self = .init(.wrongType, field: name, "expected the name of a category, or its code as a number")
      case .tensor: self = .init(.wrongType, field: name, "a value of another type than the input's elements")
      }
    }
  }
}
