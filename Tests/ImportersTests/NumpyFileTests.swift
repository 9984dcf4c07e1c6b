import Model
import Testing

@testable import Importers

@Suite struct NumpyFileTests {
  private func file(_ header: String, _ elements: [UInt8], version: UInt8 = 1) -> [UInt8] {
    let length = header.utf8.count
    let size = version == 1 ? [UInt8(length & 255), UInt8(length >> 8)] : [UInt8(length & 255), UInt8(length >> 8), 0, 0]
    return [0x93] + Array("NUMPY".utf8) + [version, 0] + size + Array(header.utf8) + elements
  }

  @Test(arguments: [1, 2, 3] as [UInt8]) func readsWhatNumPyWrites(version: UInt8) throws {
    let bytes = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", Array(0..<24), version: version)
    let array = try NumpyFile(bytes, place: "x.npy")
    #expect(array.element == .float32)
    #expect(array.shape == [2, 3])
    #expect(array.columns == 3)
    #expect(array.bytes == Array(0..<24))
  }

  @Test func saysWhatIsWrong() {
    let cases: [([UInt8], String)] = [
      ([], "first bytes"), (Array("not a file at all".utf8), "first bytes"),
      (file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", [0, 0, 0, 0]), "little-endian"),
      (file("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", [0, 0, 0, 0]), "Fortran"),
      (file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", [0, 0, 0, 0]), "asks for 8"),
      (file("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4), }", []), "too large"),
      (file("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904,), }", []), "asks for more"),
      (file("{'descr': '<f4', 'fortran_order': False, }", []), "no shape"), (file("{}", []), "no descr"),
      (file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", [0, 0, 0, 0], version: 9), "version 9"),
    ]
    for (bytes, reason) in cases {
      #expect { _ = try NumpyFile(bytes, place: "x.npy") } throws: { ($0 as? ImportError)?.reason.contains(reason) == true }
    }
    let good = file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", [1, 2, 3, 4])
    for length in 0..<good.count {
      #expect(throws: ImportError.self) { try NumpyFile(Array(good[..<length]), place: "x.npy") }
    }
  }
}
