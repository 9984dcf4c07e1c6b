import ArgumentParser
import Foundation
import Kernels

/// Speed is printed together with the loss, so that nobody gets fast by learning less.
struct BenchFTRLCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ftrl", abstract: "Learn 20 categorical features over 2^22 ids, one thread, strictly one example after the other.",
    discussion: """
      EXAMPLES
        Speed and loss on generated examples:
          millrace bench ftrl
        The same inputs for another learner (one example a line: label | ids):
          millrace bench ftrl --examples 1000000 --write-text examples.txt
      """)

  @Option(help: "Examples to generate.") var examples = 1_000_000
  @Option(help: "Seed of the generated examples.") var seed: UInt64 = 1
  @Option(help: "Times to learn them, each from nothing.") var rounds = 5
  @Option(help: "FTRL alpha.") var alpha = 0.1
  @Option(help: "FTRL beta.") var beta = 1.0
  @Option(help: "Also write the examples as text, and do nothing else.") var writeText: String?
  @Option(help: "Also write the medians as JSON.") var json: String?

  func validate() throws {
    guard examples > 0, examples <= 100_000_000 else { throw ValidationError("--examples: 1 to 100000000, not \(examples)") }
    guard rounds > 0, rounds <= 1000 else { throw ValidationError("--rounds: 1 to 1000, not \(rounds)") }
    guard FTRL(alpha: alpha, beta: beta, l1: 0, l2: 0) != nil else { throw ValidationError("--alpha and --beta must be above zero") }
  }

  func run() throws {
    let data = GeneratedExamples(count: examples, seed: seed)
    if let path = writeText {
      try data.writeText(to: path)
      return
    }
    var speeds: [Double] = []
    var loss = 0.0
    for round in 1...rounds {
      let (seconds, meanLoss, rows) = try learn(data)
      speeds.append(Double(examples) / seconds)
      loss = meanLoss
      print(
        "round \(round): \(Int(Double(examples) / seconds)) examples/s, progressive log loss \(String(format: "%.5f", meanLoss)), \(rows) rows, \(InstructionSet.current)")
    }
    let median = speeds.sorted()[speeds.count / 2]
    print("median: \(Int(median)) examples/s, progressive log loss \(String(format: "%.5f", loss)), entropy of the labels given the truth \(String(format: "%.5f", data.bestLoss))")
    if let json {
      let text = "{\"examples\":\(examples),\"rounds\":\(rounds),\"examples_per_second\":\(median),\"log_loss\":\(loss),\"best_log_loss\":\(data.bestLoss)}\n"
      try Data(text.utf8).write(to: URL(fileURLWithPath: json))
    }
  }

  private func learn(_ data: GeneratedExamples) throws -> (seconds: Double, loss: Double, rows: Int) {
    guard let ftrl = FTRL(alpha: alpha, beta: beta, l1: 0, l2: 0), let learner = SequentialLearner(ftrl, loss: .logistic) else {
      throw ValidationError("no memory for the table")
    }
    let entries = GeneratedExamples.entries
    let ones = UnsafeMutablePointer<Float>.allocate(capacity: entries)
    ones.initialize(repeating: 1, count: entries)
    defer { ones.deallocate() }
    var loss = 0.0
    let ahead = 4
    let start = ContinuousClock.now
    for example in 0..<examples {
      if example + ahead < examples { learner.prefetch(data.ids + (example + ahead) * entries, count: entries) }
      let label = data.labels[example]
      let sum = Double(learner.learn(data.ids + example * entries, ones, count: entries, label: label))
      // Progressive: the example was predicted before it was learned.
      let margin = label > 0 ? -sum : sum
      loss += margin > 0 ? margin + log1p(exp(-margin)) : log1p(exp(margin))
    }
    let passed = start.duration(to: .now)
    let seconds = Double(passed.components.seconds) + Double(passed.components.attoseconds) * 1e-18
    guard loss.isFinite else { throw ValidationError("memory ran out while learning") }
    return (seconds, loss / Double(examples), learner.rows)
  }
}

/// Examples of 20 categorical features and a bias. Values follow a power law, as words, users and routes do; each is hashed into 2^22 ids; the label
/// is drawn from a logistic model with a fixed weight for each id.
final class GeneratedExamples {
  static let features = 20
  static let entries = features + 1
  static let idBits: UInt64 = 22
  static let bias: UInt64 = 0
  /// Values of one feature: about 2^22 over all of them.
  static let valuesOfFeature = 209_715.0

  let count: Int
  let ids: UnsafeMutablePointer<UInt64>
  let labels: UnsafeMutablePointer<Float>
  /// The mean log loss of the true probabilities: nobody predicts better.
  let bestLoss: Double

  init(count: Int, seed: UInt64) {
    self.count = count
    ids = .allocate(capacity: count * Self.entries)
    labels = .allocate(capacity: count)
    var state = seed
    func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      return Self.mix(state)
    }
    func unit(_ word: UInt64) -> Double { Double(word >> 11) * 0x1p-53 }
    let scale = log(Self.valuesOfFeature)
    var best = 0.0
    for example in 0..<count {
      let at = ids + example * Self.entries
      var sum = -0.5
      for feature in 0..<Self.features {
        // Value k with a probability of about 1/k.
        let value = UInt64(exp(unit(next()) * scale))
        let id = Self.mix(UInt64(feature) << 32 | value) & (1 << Self.idBits - 1)
        at[feature] = id
        sum += (unit(Self.mix(id &* 77 &+ 1)) - 0.5) * 0.8
      }
      at[Self.features] = Self.bias
      let p = 1 / (1 + exp(-sum))
      let isPositive = unit(next()) < p
      labels[example] = isPositive ? 1 : 0
      best -= log(isPositive ? p : 1 - p)
    }
    bestLoss = best / Double(count)
  }

  deinit {
    ids.deallocate()
    labels.deallocate()
  }

  private static func mix(_ word: UInt64) -> UInt64 {
    var z = word
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// One example a line: `1 | 17 4003 …` or `-1 | …`, without the bias, which other learners add themselves.
  func writeText(to path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path) else {
      throw ValidationError("--write-text: cannot create \(path)")
    }
    defer { try? file.close() }
    var text: [UInt8] = []
    for example in 0..<count {
      text.append(contentsOf: labels[example] > 0 ? "1 |".utf8 : "-1 |".utf8)
      for feature in 0..<Self.features {
        text.append(UInt8(ascii: " "))
        text.append(contentsOf: String(ids[example * Self.entries + feature]).utf8)
      }
      text.append(UInt8(ascii: "\n"))
      if text.count > 1 << 20 || example == count - 1 {
        try file.write(contentsOf: text)
        text.removeAll(keepingCapacity: true)
      }
    }
  }
}
