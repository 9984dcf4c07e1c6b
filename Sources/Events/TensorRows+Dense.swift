// Hot: no allocation, existential, Foundation or String in the steady state.
internal import CMessages
internal import Model

/// What was found out about the dense inputs of a request's shape.
struct DensePlan {
  /// Whether every input goes to the dense row, straight from the request.
  var isDenseOnly = false
  /// Whether they leave no byte of a row to the template.
  var coversRow = false
}

/// Inputs that stand in dense rows: copied from the request, a whole tensor at a time, converted where that loses nothing or is usual.
extension TensorRows {
  /// After the names have been found: whether the shapes fit, and nothing is given twice or missing.
  func resolveDense(
    _ tensors: UnsafePointer<mr_tensor>, _ count: Int, _ features: UnsafePointer<Int32>, _ plan: UnsafeMutablePointer<DensePlan>
  ) -> Bool {
    var covered = 0
    plan.pointee.isDenseOnly = true
    for input in 0..<count where features[input] >= 0 {
      let index = Int(features[input])
      guard let place = assembler.place(of: index) else {
        plan.pointee.isDenseOnly = false
        continue
      }
      guard tensors[input].columns == UInt64(place.count) else {
        return refuse(input, .init(.invalidShape, field: tensors[input].nameBytes, "the shape without the rows has not as many elements as the model's input"))
      }
      guard index == place.feature || lastGiven[place.feature] != requestNumber else {
        return refuse(input, .init(.duplicateFeature, field: tensors[input].nameBytes, "the input is given as a whole and by one of its columns too"))
      }
      covered += place.count * place.element.bytes
    }
    plan.pointee.coversRow = covered == denseRowBytes
    if plan.pointee.coversRow { return true }
    for index in 0..<assembler.nameCount where assembler.refusesAbsence(of: index) && lastGiven[index] != requestNumber {
      if let place = assembler.place(of: index), lastGiven[place.feature] == requestNumber { continue }
      return refuse(-1, .init(missing: assembler, index))
    }
    return true
  }

  /// Appends the rows of a model that takes dense rows.
  func appendDense(
    _ tensors: UnsafeMutablePointer<mr_tensor>, _ count: Int, _ features: UnsafePointer<Int32>, _ plan: DensePlan, rows: Int, to batch: RowBatch
  ) -> Bool {
    precondition(batch.denseRowBytes == denseRowBytes, "a batch with rows of \(batch.denseRowBytes) bytes for a model with \(denseRowBytes)")
    let firstRow = batch.rowCount
    if plan.isDenseOnly {
      batch.appendDenseRows(rows, template: plan.coversRow ? nil : assembler.denseTemplate)
    } else {
      for _ in 0..<rows {
        assembler.begin()
        for input in 0..<count where features[input] >= 0 && assembler.kind(of: Int(features[input])) != .tensor {
          guard add(tensors + input, to: Int(features[input])) else {
            batch.rollback(toRow: firstRow)
            return refuse(tensors, input, Int(features[input]))
          }
        }
        guard assembler.finish(into: batch, checkingAbsence: false) else {
          batch.rollback(toRow: firstRow)
          return refuseUnfinished(tensors, count, features)
        }
      }
    }
    guard let dense = batch.dense else { return true }
    for input in 0..<count where features[input] >= 0 {
      guard let place = assembler.place(of: Int(features[input])) else { continue }
      let problem = Self.copy(tensors + input, place, to: dense + firstRow * denseRowBytes, stride: denseRowBytes, rows: rows)
      guard problem == .none else {
        batch.rollback(toRow: firstRow)
        return refuse(input, .init(problem, tensors[input].nameBytes))
      }
    }
    return true
  }

  /// Copies all rows of `tensor` to their places, the first of which is in the row at `to`.
  private static func copy(
    _ tensor: UnsafeMutablePointer<mr_tensor>, _ place: DensePlace, to first: UnsafeMutableRawPointer, stride: Int, rows: Int
  ) -> FeatureAssembler.Problem {
    let to = first + place.offset
    let source = mr_source(UInt32(tensor.pointee.source))
    if let at = UnsafeRawPointer(tensor.pointee.at), let element = rawElement(source), !place.looksUpNumbers {
      let bytes = place.count * place.element.bytes
      if element == place.element {
        if bytes == stride {
          to.copyMemory(from: at, byteCount: rows * bytes)
        } else if bytes == 4 {
          for row in 0..<rows { (to + row * stride).storeBytes(of: (at + row * 4).loadUnaligned(as: UInt32.self), as: UInt32.self) }
        } else {
          for row in 0..<rows { (to + row * stride).copyMemory(from: at + row * bytes, byteCount: bytes) }
        }
        return place.refusesNonFinite ? checkFinite(to, place, stride: stride, rows: rows) : .none
      }
      if place.element == .float32 {
        switch source {
        case MR_RAW_FP64: return doubles(at, place, to, stride, rows)
        case MR_RAW_INT64: return integers(at, Int64.self, place.count, to, stride, rows)
        case MR_RAW_INT32: return integers(at, Int32.self, place.count, to, stride, rows)
        default: break
        }
      }
    }
    return copySlowly(tensor, place, to, stride, rows)
  }

  /// The elements that lie in raw contents as they lie in rows. BOOL does not: bytes other than 0 and 1 must become 1.
  private static func rawElement(_ source: mr_source) -> TensorElement? {
    switch source {
    case MR_RAW_FP32: .float32
    case MR_RAW_FP64: .float64
    case MR_RAW_INT64: .int64
    case MR_RAW_INT32: .int32
    case MR_RAW_INT16: .int16
    case MR_RAW_INT8: .int8
    case MR_RAW_UINT64: .uint64
    case MR_RAW_UINT32: .uint32
    case MR_RAW_UINT16: .uint16
    case MR_RAW_UINT8: .uint8
    default: nil
    }
  }

  /// Whole numbers from here on are not all single-precision numbers.
  private static let exactInFloatMax: Int64 = 1 << 24

  private static func integers<Value: FixedWidthInteger & BitwiseCopyable>(
    _ from: UnsafeRawPointer, _ type: Value.Type, _ count: Int, _ to: UnsafeMutableRawPointer, _ stride: Int, _ rows: Int
  ) -> FeatureAssembler.Problem {
    var largest: UInt64 = 0
    for row in 0..<rows {
      let source = from + row * count * MemoryLayout<Value>.size
      let target = (to + row * stride).assumingMemoryBound(to: Float.self)
      for index in 0..<count {
        let value = Int64(truncatingIfNeeded: (source + index * MemoryLayout<Value>.size).loadUnaligned(as: Value.self))
        largest |= value.magnitude
        target[index] = Float(value)
      }
    }
    // The bits of all magnitudes together are below a power of two exactly when each is.
    return largest < UInt64(exactInFloatMax) ? .none : .notExact
  }

  private static func doubles(
    _ from: UnsafeRawPointer, _ place: DensePlace, _ to: UnsafeMutableRawPointer, _ stride: Int, _ rows: Int
  ) -> FeatureAssembler.Problem {
    var isGood = true
    for row in 0..<rows {
      let source = from + row * place.count * 8
      let target = (to + row * stride).assumingMemoryBound(to: Float.self)
      for index in 0..<place.count {
        let value = (source + index * 8).loadUnaligned(as: Double.self)
        let rounded = Float(value)
        isGood = isGood && (rounded.isFinite || (!value.isFinite && !place.refusesNonFinite))
        target[index] = rounded
      }
    }
    return isGood ? .none : .notFinite
  }

  private static func checkFinite(_ from: UnsafeRawPointer, _ place: DensePlace, stride: Int, rows: Int) -> FeatureAssembler.Problem {
    var isGood = true
    for row in 0..<rows {
      let source = from + row * stride
      switch place.element {
      case .float32:
        let values = source.assumingMemoryBound(to: Float.self)
        // x - x is NaN for what is not finite, and this has no branch.
        var sum: Float = 0
        for index in 0..<place.count { sum += values[index] - values[index] }
        isGood = isGood && sum == 0
      case .float64:
        let values = source.assumingMemoryBound(to: Double.self)
        var sum = 0.0
        for index in 0..<place.count { sum += values[index] - values[index] }
        isGood = isGood && sum == 0
      default: return .none
      }
    }
    return isGood ? .none : .notFinite
  }

  /// Value by value: contents in lists, and pairs of types that are asked for rarely.
  private static func copySlowly(
    _ tensor: UnsafeMutablePointer<mr_tensor>, _ place: DensePlace, _ to: UnsafeMutableRawPointer, _ stride: Int, _ rows: Int
  ) -> FeatureAssembler.Problem {
    var field = mr_field()
    for row in 0..<rows {
      for index in 0..<place.count {
        mr_tensor_next(tensor, &field)
        let at = to + row * stride + index * place.element.bytes
        let problem: FeatureAssembler.Problem
        switch mr_kind(UInt32(field.kind)) {
        case MR_KIND_TEXT:
          problem = place.store(text: UnsafeRawBufferPointer(start: field.text, count: Int(field.text_length)), index: index, at: at)
        case MR_KIND_INTEGER: problem = place.store(integer: field.integer, at: at)
        case MR_KIND_UNSIGNED: problem = place.store(unsigned: UInt64(bitPattern: field.integer), at: at)
        case MR_KIND_FLAG: problem = place.store(boolean: field.integer != 0, at: at)
        case MR_KIND_NUMBER: problem = place.store(number: field.number, at: at)
        default: problem = .wrongType
        }
        guard problem == .none else { return problem }
      }
    }
    return .none
  }
}

extension NotedProblem {
  /// Why a value of a dense input was refused.
  init(_ problem: FeatureAssembler.Problem, _ name: UnsafeRawBufferPointer) {
    switch problem {
    case .notFinite: self = .init(.notFinite, field: name, "a value is not a finite number, and the model takes no other")
    case .notExact:
      self = .init(.numberOutOfRange, field: name, "a number that the input's datatype does not hold exactly: send it as the datatype of the model's metadata")
    default: self = .init(.wrongType, field: name, "values of this datatype cannot become the input's elements")
    }
  }

  /// An input that must be given and is not. Its name is not in the request, so it is made: for the cold path.
  init(missing assembler: FeatureAssembler, _ index: Int) {
    self = .init(.missingFeature, field: UnsafeRawBufferPointer(start: nil, count: 0), "an input is not given, and the model has nothing to put in its place")
    madeField = assembler.name(index)
  }
}
