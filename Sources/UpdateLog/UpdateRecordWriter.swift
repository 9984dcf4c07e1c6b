internal import CKernels
public import Model

/// Writes records into one buffer that it keeps: what `update`, `counts` and `control` return is borrowed until the next call.
/// Owned by one thread; allocates only when a record is larger than any before.
public final class UpdateRecordWriter {
  typealias Layout = UpdateRecordLayout

  private var buffer: UnsafeMutableRawPointer
  private var capacity: Int

  public init(capacityBytes: Int = 1 << 16) {
    capacity = max(capacityBytes, Layout.headerBytes + Layout.trailerBytes)
    buffer = .allocate(byteCount: capacity, alignment: 64)
  }

  deinit { buffer.deallocate() }

  /// The bytes of an update record with `rows` rows at most. `fill` gets three columns with room for `rows` (ids, sums of gradients, sums
  /// of their squares), writes rows with strictly ascending ids, and returns how many.
  public func update(
    _ header: UpdateHeader, rows: Int, validation: ValidationSample? = nil,
    fill: (UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Int
  ) -> UnsafeRawBufferPointer {
    reserve(rows: rows, tailBytes: validation?.encodedBytes ?? 0)
    let ids = (buffer + Layout.headerBytes).bindMemory(to: UInt64.self, capacity: rows)
    let gradients = (buffer + Layout.headerBytes + 8 * rows).bindMemory(to: Float.self, capacity: rows)
    let squares = (buffer + Layout.headerBytes + 12 * rows).bindMemory(to: Float.self, capacity: rows)
    let count = fill(ids, gradients, squares)
    precondition(count >= 0 && count <= rows, "\(count) rows in room for \(rows)")
    if count < rows {
      // Columns follow each other without gaps.
      let at = buffer + Layout.headerBytes
      (at + 8 * count).copyMemory(from: at + 8 * rows, byteCount: 4 * count)
      (at + 12 * count).copyMemory(from: at + 12 * rows, byteCount: 4 * count)
    }
    return finish(header, rows: count, flags: 0, validation: validation)
  }

  /// The same from columns elsewhere.
  public func update(
    _ header: UpdateHeader, ids: UnsafePointer<UInt64>, gradients: UnsafePointer<Float>, squares: UnsafePointer<Float>, count: Int,
    validation: ValidationSample? = nil
  ) -> UnsafeRawBufferPointer {
    update(header, rows: count, validation: validation) { toIDs, toGradients, toSquares in
      toIDs.update(from: ids, count: count)
      toGradients.update(from: gradients, count: count)
      toSquares.update(from: squares, count: count)
      return count
    }
  }

  /// An update record of the count family.
  public func counts(
    _ header: UpdateHeader, rows: Int, validation: ValidationSample? = nil,
    fill: (UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<Int64>) -> Int
  ) -> UnsafeRawBufferPointer {
    reserve(rows: rows, tailBytes: validation?.encodedBytes ?? 0)
    let ids = (buffer + Layout.headerBytes).bindMemory(to: UInt64.self, capacity: rows)
    let counts = (buffer + Layout.headerBytes + 8 * rows).bindMemory(to: Int64.self, capacity: rows)
    let count = fill(ids, counts)
    precondition(count >= 0 && count <= rows, "\(count) rows in room for \(rows)")
    if count < rows {
      let at = buffer + Layout.headerBytes
      (at + 8 * count).copyMemory(from: at + 8 * rows, byteCount: 8 * count)
    }
    return finish(header, rows: count, flags: Layout.flagCounts, validation: validation)
  }

  // MARK: row by row

  private var open: UpdateHeader?
  private var openIDs: [UInt64] = []
  private var openGradients: [Float] = []
  private var openSquares: [Float] = []
  private var openCounts: [Int64] = []
  private var openValidation: ValidationSample?

  /// Starts an update record that is given row by row; `finish` returns it.
  public func begin(_ header: UpdateHeader) {
    open = header
    openIDs.removeAll(keepingCapacity: true)
    openGradients.removeAll(keepingCapacity: true)
    openSquares.removeAll(keepingCapacity: true)
    openCounts.removeAll(keepingCapacity: true)
    openValidation = nil
  }

  /// A row of a linear model. Ids ascend strictly.
  public func append(id: UInt64, gradientSum: Float, squareSum: Float) {
    openIDs.append(id)
    openGradients.append(gradientSum)
    openSquares.append(squareSum)
  }

  /// A row of a count model. Ids ascend strictly; one record has rows of one family.
  public func append(id: UInt64, count: Int64) {
    openIDs.append(id)
    openCounts.append(count)
  }

  public func append(_ validation: ValidationSample) { openValidation = validation }

  /// The record begun last.
  public func finish() -> UnsafeRawBufferPointer {
    guard let header = open else { preconditionFailure("finish without begin") }
    open = nil
    let rows = openIDs.count
    if openCounts.isEmpty {
      return update(header, rows: rows, validation: openValidation) { ids, gradients, squares in
        precondition(openGradients.count == rows, "rows of two families in one record")
        ids.update(from: openIDs, count: rows)
        gradients.update(from: openGradients, count: rows)
        squares.update(from: openSquares, count: rows)
        return rows
      }
    }
    return counts(header, rows: rows, validation: openValidation) { ids, counts in
      precondition(openCounts.count == rows, "rows of two families in one record")
      ids.update(from: openIDs, count: rows)
      counts.update(from: openCounts, count: rows)
      return rows
    }
  }

  // MARK: control

  /// A record without rows: spec, reset, freeze, thaw, expire, skip, beacon.
  public func control(_ header: UpdateHeader, _ payload: ControlPayload = .none) -> UnsafeRawBufferPointer {
    precondition(header.kind != .update, "an update record has columns")
    let tail = payload.bytes
    reserve(rows: 0, tailBytes: tail.count)
    tail.withUnsafeBytes { if let base = $0.baseAddress { (buffer + Layout.headerBytes).copyMemory(from: base, byteCount: $0.count) } }
    return seal(header, rows: 0, flags: 0, tailBytes: tail.count)
  }

  /// The SPEC record of `specification`.
  public func spec(_ specification: ModelSpecification, epoch: UInt32 = 0, trainer: UInt64 = 0) -> UnsafeRawBufferPointer {
    control(
      UpdateHeader(kind: .spec, specHash: specification.hash, epoch: epoch, trainer: trainer),
      .spec(semanticsVersion: updateLogSemanticsVersion, canonicalBytes: specification.canonicalBytes))
  }

  private func reserve(rows: Int, tailBytes: Int) {
    precondition(rows >= 0 && rows <= Layout.recordBytesMax / Layout.bytesPerRow, "\(rows) rows in one record")
    let needed = Layout.headerBytes + rows * Layout.bytesPerRow + tailBytes + Layout.trailerBytes
    precondition(needed <= Layout.recordBytesMax, "a record of \(needed) bytes")
    guard needed > capacity else { return }
    buffer.deallocate()
    capacity = max(needed, capacity * 2)
    buffer = .allocate(byteCount: capacity, alignment: 64)
  }

  private func finish(_ header: UpdateHeader, rows: Int, flags: UInt16, validation: ValidationSample?) -> UnsafeRawBufferPointer {
    precondition(header.kind == .update, "columns belong to update records")
    let ids = buffer + Layout.headerBytes
    let ascending = mr_ids_ascending(ids, rows)
    precondition(ascending == rows, "id number \(ascending) of \(rows) is not above the one before it")
    let tailBytes = validation?.encodedBytes ?? 0
    let tail = ids + rows * Layout.bytesPerRow
    validation?.encode(to: tail)
    return seal(header, rows: rows, flags: flags | (tailBytes > 0 ? Layout.flagValidation : 0), tailBytes: tailBytes)
  }

  private func seal(_ header: UpdateHeader, rows: Int, flags: UInt16, tailBytes: Int) -> UnsafeRawBufferPointer {
    let size = Layout.headerBytes + rows * Layout.bytesPerRow + tailBytes + Layout.trailerBytes
    let at = buffer
    func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, _ offset: Int) { at.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self) }
    put(Layout.magic, 0)
    put(Layout.formatVersion, 4)
    put(header.kind.rawValue, 5)
    put(flags, 6)
    put(UInt32(size), 8)
    put(header.epoch, 12)
    put(header.specHash, 16)
    put(header.trainer, 24)
    put(header.sourcePartition, 32)
    put(header.examples, 36)
    put(header.from, 40)
    put(header.to.offset, 48)
    put(header.to.featuresTo, 56)
    put(header.to.labelsTo, 64)
    put(header.to.batch, 72)
    put(header.basisOffset, 80)
    put(header.basisStateHash, 88)
    put(header.eventTimeFromMilliseconds, 96)
    put(header.eventTimeThroughMilliseconds, 104)
    put(header.labelProducedNanoseconds, 112)
    put(UInt32(rows), 120)
    put(UInt32(tailBytes), 124)
    put(mr_crc32c(0, at, size - Layout.trailerBytes), size - Layout.trailerBytes)
    return UnsafeRawBufferPointer(start: at, count: size)
  }
}
