import Foundation
import Model

@testable import ONNX

/// A model with inputs and what its origin answers: what Clients/cases.py writes.
struct ModelCase: Sendable {
  var name: String
  var group: String
  /// Why it cannot run here; empty: it can.
  var skip: String
  var relative: Double
  var absolute: Double
  var model: [UInt8]
  var inputs: [(name: String, tensor: ONNXTensor)]
  var outputs: [(name: String, tensor: ONNXTensor)]

  struct Malformed: Error { var place: Int }

  /// All cases of a file.
  static func read(_ path: String) throws -> [ModelCase] {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    guard bytes.starts(with: Array("MRCASES1".utf8)) else { throw Malformed(place: 0) }
    var reader = CaseReader(bytes: bytes, at: 8)
    var cases: [ModelCase] = []
    while reader.at < bytes.count { cases.append(try reader.next()) }
    return cases
  }
}

private struct CaseReader {
  let bytes: [UInt8]
  var at: Int

  mutating func next() throws -> ModelCase {
    let name = try text()
    let group = try text()
    let skip = try text()
    let relative = Double(bitPattern: try number(8))
    let absolute = Double(bitPattern: try number(8))
    let model = Array(try block())
    return ModelCase(
      name: name, group: group, skip: skip, relative: relative, absolute: absolute, model: model, inputs: try tensors(), outputs: try tensors())
  }

  mutating func number(_ count: Int) throws -> UInt64 {
    guard at + count <= bytes.count else { throw ModelCase.Malformed(place: at) }
    defer { at += count }
    return (0..<count).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64(8 * $1) }
  }

  mutating func block() throws -> ArraySlice<UInt8> {
    let count = Int(try number(4))
    guard at + count <= bytes.count else { throw ModelCase.Malformed(place: at) }
    defer { at += count }
    return bytes[at..<(at + count)]
  }

  mutating func text() throws -> String { String(decoding: try block(), as: UTF8.self) }

  /// TensorProtos, read as graphs' tensors are. What is not given is left out.
  mutating func tensors() throws -> [(name: String, tensor: ONNXTensor)] {
    var result: [(name: String, tensor: ONNXTensor)] = []
    for _ in 0..<(try number(4)) {
      let copy = CopiedBytes(Array(try block()))
      if copy.bytes.isEmpty { continue }
      let read = try ModelReader(owner: copy, external: nil, texts: TextTable()).tensor(copy.bytes, place: "case")
      result.append((read.name, ONNXTensor(element: read.tensor.element, sizes: read.tensor.sizes, bytes: Array(read.tensor.bytes))))
    }
    return result
  }
}

/// How far an answer is from what was expected.
struct Deviation {
  /// The largest absolute difference of numbers.
  var largest = 0.0
  /// What is wrong beyond tolerance; nil: nothing.
  var problem: String?

  /// - Parameter comparesShapes: whether sizes must be equal too, or the number of elements alone.
  init(of answer: ONNXTensor, from expected: ONNXTensor, relative: Double, absolute: Double, comparesShapes: Bool) {
    guard answer.element == expected.element || !comparesShapes else {
      problem = "is \(answer.element.onnxName), not \(expected.element.onnxName)"
      return
    }
    guard answer.sizes == expected.sizes || (!comparesShapes && answer.sizes.reduce(1, *) == expected.sizes.reduce(1, *)) else {
      problem = "has shape \(answer.sizes), not \(expected.sizes)"
      return
    }
    if expected.element == .text || answer.element == .text {
      if answer.bytes != expected.bytes { problem = "has other texts" }
      return
    }
    let a = Self.doubles(answer)
    let e = Self.doubles(expected)
    for index in e.indices where !(a[index] == e[index] || (a[index].isNaN && e[index].isNaN)) {
      let difference = abs(a[index] - e[index])
      largest = difference.isNaN ? .infinity : max(largest, difference)
      if !(difference <= absolute + relative * abs(e[index])), problem == nil { problem = "[\(index)] is \(a[index]), not \(e[index])" }
    }
  }

  private static func doubles(_ tensor: ONNXTensor) -> [Double] {
    let constant = ConstantTensor(tensor.bytes, element: .uint8, sizes: [tensor.bytes.count])
    return ConstantTensor(element: tensor.element, sizes: tensor.sizes, bytes: constant.bytes, owner: constant).doubles
      ?? tensor.bytes.map { Double($0) }
  }
}

/// Counts of many cases, printed by group.
struct CaseTally {
  var passed: [String: Int] = [:]
  var failures: [(name: String, group: String, reason: String)] = []
  var skipped: [String: [String]] = [:]
  var largest: [String: Double] = [:]

  var passedCount: Int { passed.values.reduce(0, +) }
  var skippedCount: Int { skipped.values.reduce(0) { $0 + $1.count } }

  /// Runs one case on whole tensors.
  mutating func run(_ modelCase: ModelCase, comparesShapes: Bool) {
    if !modelCase.skip.isEmpty {
      skipped[modelCase.skip, default: []].append(modelCase.name)
      return
    }
    do {
      let session = ONNXSession(model: try ONNXModel.read(modelCase.model))
      let answers = try session.run(Dictionary(modelCase.inputs.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first }))
      judge(modelCase, answers, comparesShapes: comparesShapes)
    } catch {
      failures.append((modelCase.name, modelCase.group, "\(error)"))
    }
  }

  mutating func judge(_ modelCase: ModelCase, _ answers: [String: ONNXTensor], comparesShapes: Bool) {
    var problems: [String] = []
    for (name, expected) in modelCase.outputs {
      guard let answer = answers[name] else {
        problems.append("\(name) is not answered")
        continue
      }
      let deviation = Deviation(
        of: answer, from: expected, relative: modelCase.relative, absolute: modelCase.absolute, comparesShapes: comparesShapes)
      if let problem = deviation.problem { problems.append("\(name) \(problem)") } else { largest[modelCase.group] = max(largest[modelCase.group] ?? 0, deviation.largest) }
    }
    if problems.isEmpty { passed[modelCase.group, default: 0] += 1 } else { failures.append((modelCase.name, modelCase.group, problems.joined(separator: "; "))) }
  }

  /// One line for each group, then why cases were skipped.
  func report(_ title: String) -> String {
    var lines = ["\(title): \(passedCount + failures.count) ran, \(passedCount) passed, \(skippedCount) skipped"]
    lines.append("  passed: " + passed.keys.sorted().map { "\($0) \(passed[$0] ?? 0)" }.joined(separator: ", "))
    for (reason, names) in skipped.sorted(by: { $0.key < $1.key }) {
      lines.append("  skipped \(names.count), \(reason): \(names.sorted().prefix(6).joined(separator: " "))\(names.count > 6 ? " …" : "")")
    }
    lines += failures.map { "  FAILED \($0.name): \($0.reason)" }
    return lines.joined(separator: "\n")
  }
}
