// Hot: no allocation once the buffers have grown.

/// Builds one record of the examples topic. Owned by one thread and reused.
///
///     writer.begin()
///     writer.append(example)…
///     let record = writer.finish(header)
public final class ExampleWriter {
  private let examples = OutputBuffer(capacity: 64 << 10)
  private let record = OutputBuffer(capacity: 64 << 10)
  public private(set) var count: UInt32 = 0

  public init() {}

  /// Bytes of the examples so far: what the record will have, but for its header of less than 200.
  public var byteCount: Int { examples.count }

  /// Forgets the examples and starts another record.
  public func begin() {
    examples.removeAll()
    count = 0
  }

  /// Adds one example; its slices are copied.
  public func append(_ example: ExampleView) {
    let start = examples.beginMessage(12)
    examples.appendField(1, bytes: example.id)
    if example.eventTimeMilliseconds != .min { examples.appendField(2, sint64: example.eventTimeMilliseconds) }
    if example.labelTimeMilliseconds != .min { examples.appendField(3, sint64: example.labelTimeMilliseconds) }
    examples.appendField(4, double: example.label)
    examples.appendField(5, double: example.weight)
    examples.appendField(6, sint64: example.featureOffset)
    examples.appendField(7, sint64: example.labelOffset)
    if example.expired { examples.appendField(8, varint: 1) }
    examples.appendField(9, varint: UInt64(example.form.rawValue))
    examples.appendField(10, bytes: example.event)
    examples.endMessage(start)
    count += 1
  }

  /// The record, with the count filled in. Borrowed until the next `finish`.
  public func finish(_ header: ExampleBatchHeader) -> UnsafeRawBufferPointer {
    record.removeAll()
    record.appendField(15, varint: UInt64(exampleBatchFormat))
    record.appendField(1, sint64: header.featuresFrom)
    record.appendField(2, sint64: header.featuresTo)
    record.appendField(3, sint64: header.labelsFrom)
    record.appendField(4, sint64: header.labelsTo)
    record.appendField(5, sint64: header.rebuildFeatures)
    record.appendField(6, sint64: header.rebuildLabels)
    record.appendField(7, sint64: header.rebuildExamples)
    record.appendField(8, sint64: header.watermarkMilliseconds)
    record.appendField(9, fixed32: header.featuresCRC)
    record.appendField(10, fixed32: header.labelsCRC)
    record.appendField(11, varint: UInt64(count))
    record.appendField(13, fixed64: header.batch)
    record.appendField(14, fixed64: header.follows)
    record.append(examples.bytes)
    return record.bytes
  }
}
