public import Model

/// A tensor whose contents are known at load: an initializer that lies in the mapped file, or what folding made. Immutable.
public final class ConstantTensor: @unchecked Sendable {
  public let element: TensorElement
  public let sizes: [Int]
  /// Elements.
  public let count: Int
  /// As the file has it: of any alignment. `pointer` is aligned.
  public let bytes: UnsafeRawBufferPointer
  /// Keeps the bytes.
  private let owner: AnyObject?
  private let aligned: AlignedCopy

  /// Bytes must be `sizes`' product times the element's; the caller has checked.
  init(element: TensorElement, sizes: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject?) {
    self.element = element
    self.sizes = sizes
    count = sizes.reduce(1, *)
    precondition(bytes.count == count * element.bytes, "\(bytes.count) bytes for \(count) elements")
    self.bytes = bytes
    self.owner = owner
    aligned = AlignedCopy()
  }

  /// A tensor of its own memory, filled by `fill` (room for the bytes, 64-byte aligned, at least 64).
  public convenience init(element: TensorElement, sizes: [Int], fill: (UnsafeMutableRawPointer) -> Void) {
    let byteCount = sizes.reduce(1, *) * element.bytes
    let memory = AlignedMemory(byteCount: byteCount)
    fill(memory.pointer)
    self.init(
      element: element, sizes: sizes, bytes: UnsafeRawBufferPointer(start: memory.pointer, count: byteCount), owner: memory)
  }

  public convenience init<T: BitwiseCopyable>(_ values: [T], element: TensorElement, sizes: [Int]) {
    precondition(MemoryLayout<T>.size == element.bytes && values.count == sizes.reduce(1, *))
    self.init(element: element, sizes: sizes) { memory in
      values.withUnsafeBytes { if let base = $0.baseAddress { memory.copyMemory(from: base, byteCount: $0.count) } }
    }
  }

  /// The elements, aligned for their type: the mapped bytes themselves where they are aligned, else a copy made when first asked for.
  public var pointer: UnsafeRawPointer {
    if let base = bytes.baseAddress, UInt(bitPattern: base) % UInt(element.bytes) == 0 { return base }
    return aligned.copy(of: bytes)
  }

  public func elements<T: BitwiseCopyable>(_: T.Type) -> UnsafeBufferPointer<T> {
    precondition(MemoryLayout<T>.size == element.bytes)
    return UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: T.self), count: count)
  }

  public func array<T: BitwiseCopyable>(_ type: T.Type) -> [T] { Array(elements(type)) }

  /// Its elements as integers, when it is of an integer type or boolean.
  public var integers: [Int]? {
    switch element {
    case .int64: array(Int64.self).map { Int($0) }
    case .int32: array(Int32.self).map { Int($0) }
    case .int16: array(Int16.self).map { Int($0) }
    case .int8: array(Int8.self).map { Int($0) }
    case .uint8, .boolean: array(UInt8.self).map { Int($0) }
    case .uint16: array(UInt16.self).map { Int($0) }
    case .uint32: array(UInt32.self).map { Int($0) }
    case .uint64: array(UInt64.self).map { Int(clamping: $0) }
    default: nil
    }
  }

  /// Its elements in double precision, when it is of a number type.
  public var doubles: [Double]? {
    switch element {
    case .float32: array(Float.self).map { Double($0) }
    case .float64: array(Double.self)
    case .float16: array(UInt16.self).map { Double(HalfFloat.float(fromHalf: $0)) }
    case .bfloat16: array(UInt16.self).map { Double(HalfFloat.float(fromBfloat: $0)) }
    case .text: nil
    default: integers?.map { Double($0) }
    }
  }

  /// The same bytes under another shape of the same count.
  func reshaped(_ sizes: [Int]) -> ConstantTensor { ConstantTensor(element: element, sizes: sizes, bytes: bytes, owner: self) }

  public var type: TensorType { TensorType(element, Shape(fixed: sizes)) }
}

/// 64-byte aligned memory, freed with its owner.
final class AlignedMemory: @unchecked Sendable {
  let pointer: UnsafeMutableRawPointer
  let byteCount: Int

  init(byteCount: Int) {
    self.byteCount = max(64, byteCount)
    pointer = .allocate(byteCount: self.byteCount, alignment: 64)
  }

  deinit { pointer.deallocate() }
}
