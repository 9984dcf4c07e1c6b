import Families
import Foundation
import Model
import Testing

@testable import Importers

/// Files that were cut or changed anywhere give an error with a place, or a model that is whole; never anything else. The files are the
/// fuzzers' first inputs: small models of LightGBM and XGBoost themselves.
@Suite struct DamagedForestTests {
  static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Fuzz/corpus")

  static func files(_ target: String) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(at: corpus.appendingPathComponent(target), includingPropertiesForKeys: nil)
      .sorted { $0.path < $1.path }
  }

  @Test(arguments: ["lightgbm", "xgboost"]) func everyDamageEndsInAnErrorOrAModel(_ library: String) throws {
    let files = try Self.files("\(library)-models")
    try #require(files.count > 5)
    let seed = UInt64.random(in: 1..<1 << 32)
    var random = SplitMix(state: seed)
    var refused = 0
    for file in files {
      let whole = Array(try Data(contentsOf: file))
      if let problem = Self.outcome(whole, library) { Issue.record("\(file.lastPathComponent) itself: \(problem)") }
      for damage in 0..<60 {
        let damaged = Self.damage(whole, damage, &random)
        if let problem = Self.outcome(damaged, library, allowsError: true) {
          Issue.record("\(file.lastPathComponent), seed \(seed), damage \(damage): \(problem)")
        }
        if (try? ForestCase.imported(damaged, library)) == nil { refused += 1 }
      }
    }
    // Of all files together: one whose trees are small beside its parameters may have none.
    #expect(refused > files.count * 60 / 10, "seed \(seed): only \(refused) of \(files.count * 60) were noticed")
  }

  /// Nil when the outcome is one of those that may be.
  static func outcome(_ bytes: [UInt8], _ kind: String, allowsError: Bool = false) -> String? {
    do throws(ImportError) {
      let model = try ForestCase.imported(bytes, kind)
      guard let ensemble = model.ensemble else { return nil }
      if let problem = ensemble.problems().first { return "a broken forest was handed out: \(problem)" }
      guard ensemble.featureCount <= 10_000 else { return nil }
      for value in [0.0, 1.5, -3, .nan, .infinity] {
        let answer = ensemble.score(row: Array(repeating: value, count: ensemble.featureCount))
        if answer.count != model.outputs[0].count { return "\(answer.count) answers where \(model.outputs[0].count) are promised" }
      }
      return nil
    } catch {
      if error.place.isEmpty || error.reason.isEmpty { return "an error that does not say where or why" }
      return allowsError ? nil : "\(error)"
    }
  }

  /// Cuts, changed bytes, runs that are taken out, doubled or overwritten.
  static func damage(_ whole: [UInt8], _ kind: Int, _ random: inout SplitMix) -> [UInt8] {
    var bytes = whole
    let place = Int.random(in: 0..<whole.count, using: &random)
    let run = min(Int.random(in: 1...40, using: &random), whole.count - place)
    switch kind % 6 {
    case 0: bytes.removeSubrange(place...)
    case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
    case 2: bytes.removeSubrange(place..<(place + run))
    case 3: bytes.insert(contentsOf: whole[place..<(place + run)], at: place)
    case 4: for index in place..<(place + run) { bytes[index] = UInt8.random(in: 0...255, using: &random) }
    default:
      // A digit for a digit: numbers that are valid and wrong.
      for index in place..<bytes.count where bytes[index] >= 48 && bytes[index] <= 57 {
        bytes[index] = UInt8.random(in: 48...57, using: &random)
        if Int.random(in: 0..<4, using: &random) == 0 { break }
      }
    }
    return bytes
  }
}
