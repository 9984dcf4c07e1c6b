// Hot: no allocation once the shapes of requests have been seen.
public import CMessages

/// Reads V2 ModelInferRequests in place (see `mr_infer_request_read`). Owned by one thread and reused; what it hands out is borrowed from
/// the request and from the reader until the next `read`.
public final class InferRequestReader {
  private let reader: OpaquePointer?
  private let result: UnsafeMutablePointer<mr_infer_request>
  @exclusivity(unchecked) private(set) var cProblem = mr_problem()

  /// Of `limits`, those on values, texts and ids count.
  public init(limits: EventLimits, inputsMax: Int) {
    var cLimits = mr_limits(
      values_max: UInt32(clamping: limits.valuesMax), text_bytes_max: UInt32(clamping: limits.textBytesMax),
      id_bytes_max: UInt32(clamping: limits.idBytesMax))
    reader = mr_infer_reader_create(&cLimits, UInt32(clamping: inputsMax))
    result = .allocate(capacity: 1)
    result.initialize(to: mr_infer_request())
  }

  deinit {
    mr_infer_reader_destroy(reader)
    result.deallocate()
  }

  /// What the last successful `read` found.
  public var request: UnsafePointer<mr_infer_request> { UnsafePointer(result) }

  /// False: the bytes are no good request, and `problem()` says why.
  public func read(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let reader else {
      mr_fail(&cProblem, MR_STATUS_NO_MEMORY, nil, 0, nil)
      return false
    }
    return mr_infer_request_read(reader, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count, result, &cProblem)
      == MR_STATUS_OK
  }

  /// Reads what the parameters ask of the answer; false as above.
  public func read(options: inout mr_infer_options) -> Bool {
    mr_infer_options_read(result, &options, &cProblem) == MR_STATUS_OK
  }

  /// Why the last `read` failed. Allocates; to be asked for while the request is still there.
  public func problem() -> EventProblem { NotedProblem(cProblem, form: .v2).requestProblem(cProblem) }
}

extension NotedProblem {
  /// The same for whoever sent the request: where it stands, and what was counted.
  func requestProblem(_ problem: mr_problem) -> EventProblem {
    var result = self.problem
    if problem.is_parameter {
      result.field = "parameters[\"\(result.field)\"]"
    } else if madeField != nil {
      result.field = "inputs: \"\(result.field)\""
    } else if problem.input >= 0 {
      result.field = "inputs[\(problem.input)] \"\(result.field)\""
    }
    if problem.has_counts { result.message += " (expected \(problem.expected), found \(problem.found))" }
    return result
  }
}
