import Foundation
import MillraceClient
import Model
import Testing

@testable import LoadTest

@Suite struct InferBodiesTests {
  /// What tritonclient 2.73 sends for `golden`'s inputs, written down:
  ///
  ///     _get_inference_request(inputs=[InferInput("carrier", [1, 1], "BYTES"), …], model_name="flights", model_version="2", …)
  private static let golden = """
    0a07666c69676874731201322a140a0763617272696572120542595445531a0201012a110a0474616773120542595445531a0201022a120a05636f75\
    6e741205494e5436341a0201012a0d0a01781204465033321a0201033a060200000055413a0b010000006102000000c39f3a08f9ffffffffffffff3a\
    0c0000003f0000a0bf00004040
    """
  private static let goldenInputs = [
    InferInput(name: "carrier", datatype: .bytes), InferInput(name: "tags", datatype: .bytes), InferInput(name: "count", datatype: .int64),
    InferInput(name: "x", datatype: .fp32, columns: 3),
  ]

  private func hex(_ bytes: UnsafeRawBufferPointer) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

  @Test func bodiesAreTheBytesThatTritonclientSends() throws {
    let line = #"{"id": "e", "features": {"x": [0.5, -1.25, 3], "carrier": "UA", "tags": ["a", "ß"], "count": -7, "other": 1}}"#
    let bodies = try InferBodies.read(jsonLines: line + "\n", model: "flights", version: "2", inputs: Self.goldenInputs)
    #expect(bodies.count == 1)
    #expect(hex(bodies[0]) == Self.golden)
    // The features alone are an event too, and bodies repeat.
    let plain = try InferBodies.read(
      jsonLines: #"{"x": [0.5, -1.25, 3.0], "carrier": "UA", "tags": ["a", "ß"], "count": -7}"#, model: "flights", version: "2",
      inputs: Self.goldenInputs)
    #expect(hex(plain[5]) == Self.golden)
  }

  @Test func madeUpBodiesAreDistinctAndDecidedByTheSeed() throws {
    let inputs = InferInput.inputs(try StandardModel.specification())
    #expect(inputs.count == 19 && inputs[0].datatype == .bytes && inputs[18].datatype == .fp32)
    let one = try InferBodies.generate(model: "m", inputs: inputs, count: InferBodies.countMin, seed: 4)
    let same = try InferBodies.generate(model: "m", inputs: inputs, count: InferBodies.countMin, seed: 4)
    let other = try InferBodies.generate(model: "m", inputs: inputs, count: InferBodies.countMin, seed: 5)
    #expect(one.count == InferBodies.countMin && one.distinctCount == one.count)
    #expect(one.framed == same.framed)
    #expect(one.framed != other.framed)
    #expect(one.bytesPerRequest > 400 && one.bytesPerRequest < 700)
    #expect(hex(one[0]) == hex(one[InferBodies.countMin]))
  }

  /// Few values are frequent and many are rare.
  @Test func categoricalValuesAreSkewed() throws {
    let bodies = try InferBodies.generate(model: "m", inputs: [InferInput(name: "dest", datatype: .bytes)], count: 20_000, seed: 1)
    var counts: [String: Int] = [:]
    for index in 0..<bodies.count { counts[hex(bodies[index]), default: 0] += 1 }
    let sorted = counts.values.sorted(by: >)
    #expect(counts.count >= 4)
    #expect(sorted[0] > 20_000 / counts.count * 2 || counts.count == 4)
    #expect(sorted[0] > sorted[sorted.count - 1] * 2)
  }

  @Test func aFileOfBodiesComesBackAsItWas() throws {
    let bodies = try InferBodies.generate(
      model: "dense", inputs: [InferInput(name: "x", datatype: .fp32, columns: 16)], count: 100, seed: 9)
    let read = try InferBodies.read(framed: bodies.framed)
    #expect(read.count == 100)
    for index in 0..<100 { #expect(hex(read[index]) == hex(bodies[index])) }
  }

  @Test func badFilesAreRefusedWithTheirPlace() {
    func message(_ body: () throws -> InferBodies) -> String {
      do {
        _ = try body()
        return "taken"
      } catch { return "\(error)" }
    }
    #expect(message { try .read(framed: []) }.contains("no bodies"))
    #expect(message { try .read(framed: [1, 0, 0]) }.contains("length of body 1"))
    #expect(message { try .read(framed: [1, 0, 0, 0, 7, 2, 0, 0, 0, 1]) }.contains("inside body 2"))
    #expect(message { try .read(framed: [255, 255, 255, 255, 1]) }.contains("at most"))
    let inputs = Self.goldenInputs
    #expect(message { try .read(jsonLines: "{\"x\": 1}\n[1]", model: "m", inputs: inputs) }.contains("Line 2"))
    #expect(message { try .read(jsonLines: "{\"x\": \"one\"}", model: "m", inputs: inputs) }.contains("\"x\""))
    #expect(message { try .read(jsonLines: "{\"count\": 1.5}", model: "m", inputs: inputs) }.contains("\"count\""))
    #expect(message { try .read(jsonLines: "{\"x\": []}", model: "m", inputs: inputs) }.contains("\"x\""))
    #expect(message { try .read(jsonLines: "{\"other\": 1}", model: "m", inputs: inputs) }.contains("none of the model's inputs"))
    #expect(message { try .read(jsonLines: "\n\n", model: "m", inputs: inputs) }.contains("no events"))
    #expect(message { try .generate(model: "m", inputs: [], seed: 1) }.contains("no inputs"))
  }
}
