import Events
import Foundation
@testable import MillraceClient
import Testing

/// Requests against tritonclient's bytes (golden/requests.txt; golden/requests.py says how they were made).
@Suite struct InferRequestWriterTests {
  static let golden: [String: String] = {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("golden/requests.txt")
    let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    return Dictionary(
      text.split(separator: "\n").map { line in
        let parts = line.split(separator: " ")
        return (String(parts[0]), String(parts[1]))
      }, uniquingKeysWith: { $1 })
  }()

  private func hex(_ bytes: UnsafeRawBufferPointer) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

  @Test func writesWhatTritonclientWrites() {
    #expect(Self.golden.count == 8)
    let writer = InferRequestWriter()
    func check(_ name: String, _ write: () -> Void) {
      // Twice: a reused writer keeps nothing.
      for _ in 0..<2 {
        write()
        #expect(hex(writer.finish()) == Self.golden[name], "\(name)")
      }
    }
    check("plain") {
      writer.begin(model: "flights")
      writer.input("carrier", .bytes, rows: 1, columns: 1)
      writer.text("AA")
      writer.input("temp", .fp32, rows: 1, columns: 1)
      writer.number(3.2)
    }
    check("named") {
      writer.begin(model: "flights", version: "1", id: "u1")
      writer.requestOutput("score")
      writer.input("carrier", .bytes, rows: 1, columns: 1)
      writer.text("AA")
    }
    check("timeout") {
      writer.begin(model: "flights")
      writer.parameter("timeout", integer: 250_000)
      writer.input("temp", .fp32, rows: 1, columns: 1)
      writer.number(-0.5)
    }
    check("key") {
      writer.begin(model: "flights")
      writer.parameter("key", text: "k1")
      writer.input("temp", .fp32, rows: 1, columns: 1)
      writer.number(1)
    }
    check("rows") {
      writer.begin(model: "flights")
      writer.input("carrier", .bytes, rows: 2, columns: 2)
      for text in ["AA", "", "UA", "Zürich"] { writer.text(text) }
      writer.input("temp", .fp32, shape: [2, 1])
      writer.number(1)
      writer.number(2)
    }
    check("long") {
      let long = String(repeating: "a", count: 200)
      writer.begin(model: "flights", id: long)
      writer.input(long, .bytes, rows: 1, columns: 1)
      writer.text(String(repeating: "x", count: 300))
    }
    check("types") {
      writer.begin(model: "flights")
      writer.input("a", .int64, rows: 1, columns: 1)
      writer.integer(-1)
      writer.input("b", .int8, rows: 1, columns: 1)
      writer.integer(-128)
      writer.input("c", .uint16, rows: 1, columns: 1)
      writer.integer(65535)
      writer.input("d", .bool, rows: 1, columns: 1)
      writer.flag(true)
      writer.input("e", .fp64, rows: 1, columns: 1)
      writer.number(1e300)
      writer.input("f", .fp16, rows: 1, columns: 1)
      writer.number(0.333)
    }
    check("vector") {
      writer.begin(model: "flights")
      writer.input("x", .fp32, rows: 1, columns: 16)
      for _ in 0..<16 { writer.number(0) }
    }
  }

  @Test func saysWhatADatatypeCannotHold() {
    let writer = InferRequestWriter()
    writer.begin(model: "m")
    writer.input("a", .int8, rows: 1, columns: 1)
    let isRefused = [writer.integer(128), writer.number(1), writer.text("x"), writer.flag(true)]
    #expect(isRefused == [false, false, false, false])
    writer.input("b", .uint64, rows: 1, columns: 1)
    let isNegative = writer.integer(-1)
    #expect(!isNegative)
    let typed = InferRequestWriter(.typed)
    typed.begin(model: "m")
    typed.input("c", .fp16, rows: 1, columns: 1)
    let hasNoList = typed.number(1)
    #expect(!hasNoList)
  }
}
