import Families
import Foundation
import Model
import Quantization
import Testing

@Suite struct EvaluationRowsTests {
  /// y = 1 + 2 a + 4 b
  private func linear(named: Bool = true) throws -> LinearModel {
    try LinearModel(weights: [2, 4], biases: [1], link: .identity, featureNames: named ? ["a", "b"] : [])
  }

  private func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString)-\(name)").path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func scores(_ name: String, _ bytes: [UInt8], label: String? = nil, named: Bool = true) throws -> (scores: [Float], labels: [Double]) {
    let path = try file(name, bytes)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let model = try linear(named: named)
    let rows = try EvaluationRows(model: model)
    try rows.append(path: path, label: label)
    return (ScoredRows(of: model, batches: rows.batches).scores, rows.labels)
  }

  private func refusal(_ name: String, _ bytes: [UInt8], label: String? = nil, named: Bool = true) -> String {
    do {
      _ = try scores(name, bytes, label: label, named: named)
      return "read"
    } catch { return "\(error)" }
  }

  @Test func columnsOfCSVByName() throws {
    let found = try scores("a.csv", Array("\u{FEFF}b,\"label\",id,a\r\n1,0,x,2\n0.5,1,\"y\nz\",-1\n,1,z,3\n".utf8), label: "label")
    #expect(found.scores == [9, 1, 7], "an absent column adds nothing")
    #expect(found.labels == [0, 1, 1])
  }

  /// y = 1 + 2 a + 4 b of codes.
  @Test func namesOfCategoriesInCSVAndEvents() throws {
    func scores(_ a: [CategoryName], _ b: [CategoryName], _ name: String, _ text: String) throws -> [Float] {
      let input = InputTensor(
        name: "input", shape: [2], columns: ["a", "b"], absent: .nan,
        categories: [.init(column: 0, names: try CategoryNames(a)), .init(column: 1, names: try CategoryNames(b))])
      let model = try LinearModel(weights: [2, 4], biases: [1], link: .identity, inputs: [input])
      let path = try file(name, Array(text.utf8))
      defer { try? FileManager.default.removeItem(atPath: path) }
      let rows = try EvaluationRows(model: model)
      try rows.append(path: path, label: nil)
      return ScoredRows(of: model, batches: rows.batches).scores
    }
    // A number is a code where no name is written like one, and a name in another form where names are numbers.
    #expect(try scores([.text("x"), .text("y")], [.integer(20), .integer(30)], "n.csv", "a,b\ny,20\n1,30\n0,30.0\nz,10\n,20\n") == [3, 7, 5, 1, 1])
    #expect(try scores([.text("7"), .text("y")], [.boolean(false), .boolean(true)], "n.csv", "a,b\n1,true\ny,False\n7,1\n") == [5, 3, 5])
    let events = #"{"id":"1","features":{"a":"y","b":30}}"# + "\n" + #"{"id":"2","features":{"input":[0,1]}}"#
    #expect(try scores([.text("x"), .text("y")], [.integer(20), .integer(30)], "n.jsonl", events) == [7, 5])
  }

  @Test func columnsOfCSVByPosition() throws {
    let found = try scores("a.csv", Array("x,y,z\n2,0,1\n-1,1,0.5\n".utf8), label: "y", named: false)
    #expect(found.scores == [9, 1])
    #expect(found.labels == [0, 1])
    #expect(refusal("a.csv", Array("x,y,z\n2,0,1\n".utf8), named: false).contains("none of its columns"))
  }

  @Test func eventsWithTheirOutcomes() throws {
    let lines = """
      {"id":"1","features":{"a":2,"b":1},"label":1}

      {"id":"2","features":{"a":-1,"b":0.5,"other":"x"},"label":0}
      """
    let found = try scores("a.jsonl", Array(lines.utf8))
    #expect(found.scores == [9, 1])
    #expect(found.labels == [1, 0])
    #expect(refusal("a.jsonl", Array("{\"id\":\"1\",\"features\":{\"a\":2}}\n{\"id\":".utf8)).contains("a.jsonl:2"))
    #expect(refusal("a.jsonl", Array("{\"id\":\"1\",\"features\":{\"a\":2},\"label\":1}\n{\"id\":\"2\",\"features\":{}}".utf8)).contains("has no label"))
  }

  /// A NumPy file of format 1.
  private func numpy(_ values: [Float], _ shape: String) -> [UInt8] {
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(shape)), }"
    header += String(repeating: " ", count: (64 - (10 + header.utf8.count + 1) % 64) % 64) + "\n"
    let count = header.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 255), UInt8(count >> 8)] + Array(header.utf8)
      + values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
  }

  @Test func matricesOfNumPy() throws {
    #expect(try scores("a.npy", numpy([2, 1, -1, 0.5], "2, 2")).scores == [9, 1])
    for (label, values) in [("0", [0, 2, 1, 1, -1, 0.5]), ("-1", [2, 1, 0, -1, 0.5, 1]), ("1", [2, 0, 1, -1, 1, 0.5])] as [(String, [Float])] {
      let found = try scores("a.npy", numpy(values, "2, 3"), label: label)
      #expect(found.scores == [9, 1] && found.labels == [0, 1], "label in column \(label)")
    }
    #expect(refusal("a.npy", numpy([1, 2, 3], "1, 3")).contains("rows of 3 numbers, the model takes 2"))
    #expect(refusal("a.npy", numpy([1, 2], "2,")).contains("expected [rows, columns]"))
    #expect(refusal("a.npy", numpy([1, 2, 3], "1, 3"), label: "3").contains("column \"3\""))
    #expect(refusal("a.npy", [1, 2, 3]).contains("is no .npy file"))
  }

  @Test func moreRowsThanABatchHolds() throws {
    let model = try linear()
    let rows = try EvaluationRows(model: model)
    try rows.append(generated: 600, seed: 7)
    #expect(rows.rowCount == 600 && rows.batches.map(\.rowCount) == [256, 256, 88])
    let whole = ScoredRows(of: model, batches: rows.batches).scores
    #expect(Set(whole).count > 500, "rows differ")
    let again = try EvaluationRows(model: model)
    try again.append(generated: 600, seed: 7)
    #expect(ScoredRows(of: model, batches: again.batches).scores == whole, "the same seed gives the same rows")
    let groups = model.regrouped(rows.batches, by: 7)
    #expect(groups.map(\.rowCount) == Array(repeating: 7, count: 85) + [5])
    #expect(ScoredRows(of: model, batches: groups).scores == whole)
  }
}
