import Model

/// Tests speak in texts; the code under test takes bytes.
extension FeatureAssembler {
  func index(_ name: String) -> Int {
    var name = name
    return name.withUTF8 { index(ofName: UnsafeRawBufferPointer($0)) }
  }

  @discardableResult
  func text(_ name: String, _ value: String) -> Bool {
    let place = index(name)
    var value = value
    return value.withUTF8 { categorical(place, UnsafeRawBufferPointer($0)) }
  }

  @discardableResult
  func number(_ name: String, _ value: Double) -> Bool { numeric(index(name), value) }
}

extension RowBatch {
  func row(_ row: Int) -> [(id: UInt64, value: Float)] {
    (start(ofRow: row)..<Int(rowEnds[row])).map { (ids[$0], values[$0]) }
  }
  func ids(ofRow row: Int) -> [UInt64] { self.row(row).map(\.id) }
}

/// Row ids from the documented definition, apart from the assembler.
func categoricalID(_ name: String, _ value: String) -> UInt64 { hash64(value, seed: hash64(name, seed: 0)) }
func numericID(_ name: String) -> UInt64 { hash64("", seed: hash64(name, seed: 0)) }

/// SplitMix64: the seed alone decides.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
