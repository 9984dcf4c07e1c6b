import CMessages

/// Why a record could not be used. Such a record goes to the dead letters; nothing stops.
public struct EventProblem: Error, Sendable, Equatable, CustomStringConvertible {
  /// Stable codes, for metrics and dead letters. Their raw values never change.
  public enum Reason: String, Sendable, CaseIterable {
    case emptyPayload = "empty_payload"
    case payloadTooLarge = "payload_too_large"
    case unknownContentType = "unknown_content_type"
    case invalidJSON = "invalid_json"
    case invalidProtobuf = "invalid_protobuf"
    case invalidV2 = "invalid_v2"
    case truncated = "truncated"
    case nestedTooDeep = "nested_too_deep"
    case tooManyValues = "too_many_values"
    case textTooLong = "text_too_long"
    case wrongType = "wrong_type"
    case numberOutOfRange = "number_out_of_range"
    case notFinite = "not_finite"
    case invalidUTF8 = "invalid_utf8"
    case duplicateField = "duplicate_field"
    case duplicateFeature = "duplicate_feature"
    case invalidTime = "invalid_time"
    case bothContents = "both_contents"
    case invalidShape = "invalid_shape"
    case invalidDatatype = "invalid_datatype"
    case missingID = "missing_id"
    case missingFeature = "missing_feature"
    case missingLabel = "missing_label"
    case labelOutOfRange = "label_out_of_range"
    case unsupportedFormat = "unsupported_format"
    case countMismatch = "count_mismatch"
    case noMemory = "no_memory"
    case sharedMemory = "shared_memory"
    /// A record that decodes but cannot be served, for reasons its reader names in the message.
    case other = "other"
  }

  public var reason: Reason
  /// The field or feature it is about; empty when it is about the whole record.
  public var field: String
  /// One sentence for people: what is wrong, and where it helps, what was expected.
  public var message: String

  public init(reason: Reason, field: String = "", message: String) {
    self.reason = reason
    self.field = field
    self.message = message
  }

  public var description: String { field.isEmpty ? "\(reason.rawValue): \(message)" : "\(reason.rawValue) in \(field): \(message)" }
}

/// A problem as hot code notes it down: without text of its own. The slices are borrowed like the record's.
struct NotedProblem {
  var reason: EventProblem.Reason = .other
  var field: UnsafeRawBufferPointer?
  var fieldName: StaticString?
  var detail: StaticString?
  var detailCString: UnsafePointer<CChar>?
  /// What is not in the record: a feature that it should have had.
  var madeField: String?

  init() {}

  init(_ reason: EventProblem.Reason, field: StaticString? = nil, _ detail: StaticString) {
    self.reason = reason
    self.fieldName = field
    self.detail = detail
  }

  init(_ reason: EventProblem.Reason, field: UnsafeRawBufferPointer?, _ detail: StaticString) {
    self.reason = reason
    self.field = field
    self.detail = detail
  }

  init(_ problem: mr_problem, form: EventForm) {
    reason = .init(problem.status, form: form)
    field = problem.field.map { UnsafeRawBufferPointer(start: $0, count: Int(problem.field_length)) }
    detailCString = problem.detail
  }

  /// Allocates: for the cold path.
  var problem: EventProblem {
    let field = madeField ?? self.field.map(\.text) ?? fieldName?.description ?? ""
    let message = detail?.description ?? detailCString.map { String(cString: $0) } ?? ""
    return EventProblem(reason: reason, field: field, message: message)
  }
}

extension EventProblem.Reason {
  init(_ status: mr_status, form: EventForm) {
    switch status {
    case MR_STATUS_TRUNCATED: self = .truncated
    case MR_STATUS_TOO_DEEP: self = .nestedTooDeep
    case MR_STATUS_TOO_MANY_VALUES: self = .tooManyValues
    case MR_STATUS_TOO_LONG: self = .textTooLong
    case MR_STATUS_WRONG_TYPE: self = .wrongType
    case MR_STATUS_OUT_OF_RANGE: self = .numberOutOfRange
    case MR_STATUS_INVALID_UTF8: self = .invalidUTF8
    case MR_STATUS_DUPLICATE: self = .duplicateField
    case MR_STATUS_INVALID_TIME: self = .invalidTime
    case MR_STATUS_BOTH_CONTENTS: self = .bothContents
    case MR_STATUS_SHAPE: self = .invalidShape
    case MR_STATUS_DATATYPE: self = .invalidDatatype
    case MR_STATUS_TOO_LARGE: self = .payloadTooLarge
    case MR_STATUS_NO_MEMORY: self = .noMemory
    case MR_STATUS_SHARED_MEMORY: self = .sharedMemory
    default:
      switch form {
      case .json: self = .invalidJSON
      case .protobuf: self = .invalidProtobuf
      case .v2: self = .invalidV2
      }
    }
  }
}
