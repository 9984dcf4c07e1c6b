/// Where things stand in a record, format 1. Little-endian, no alignment promised.
///
/// | at | size | field |
/// |---|---|---|
/// | 0 | 4 | magic `MRUL` |
/// | 4 | 1 | format version, 1 |
/// | 5 | 1 | kind |
/// | 6 | 2 | flags: 1 counts instead of gradient sums; 2 validation section present; others must be 0 |
/// | 8 | 4 | size of the whole record |
/// | 12 | 4 | epoch |
/// | 16 | 8 | specification hash |
/// | 24 | 8 | trainer |
/// | 32 | 4 | source partition |
/// | 36 | 4 | examples |
/// | 40 | 8 | from |
/// | 48 | 32 | to: offset, featuresTo, labelsTo, batch |
/// | 80 | 16 | basis: offset, state hash |
/// | 96 | 16 | label event times: from, through |
/// | 112 | 8 | oldest label's produce time |
/// | 120 | 4 | rows |
/// | 124 | 4 | size of the tail: validation section (update) or the control kind's payload |
/// | 128 | 8 rows | ids, strictly ascending |
/// | … | 4 rows + 4 rows, or 8 rows | sums of gradients, then sums of their squares (Float32); or counts (Int64) |
/// | … | tail | |
/// | end - 4 | 4 | CRC-32C of everything before it |
enum UpdateRecordLayout {
  static let magic: UInt32 = 0x4C55_524D  // "MRUL"
  static let formatVersion: UInt8 = 1
  static let headerBytes = 128
  static let trailerBytes = 4
  static let flagCounts: UInt16 = 1
  static let flagValidation: UInt16 = 2
  static let flagsKnown: UInt16 = 3
  /// Kafka brokers commonly refuse messages over a megabyte; ours split long before this.
  static let recordBytesMax = 1 << 28
  static let bytesPerRow = 16

  /// Validation section: examples UInt32, entries UInt32, then five Float64 (weight, loss, label, prediction, squared error), then entries
  /// of UInt16: score bin * 2 + label.
  static let validationFixedBytes = 48
}

/// The version of what the code does with records: part of every SPEC record. It changes when the same records would give
/// other bits.
public let updateLogSemanticsVersion: UInt32 = 1
