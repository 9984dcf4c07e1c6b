import Families
import Model

/// Reads LightGBM's text models (`Booster.save_model`), formats v3 and v4.
///
/// LightGBM predicts in double: leaves are added tree by tree, averaged by random forests, and turned into answers by the objective. What
/// early stopping found best is already cut when the file is written, and DART's weights are already in the leaves.
public enum LightGBMModel {
  /// More features are no model of ours.
  public static let featuresMax = 1 << 24
  public static let outputsMax = 1 << 16

  /// - Throws: what is wrong, and in which line.
  public static func read(_ text: String) throws(ImportError) -> ImportedModel {
    var copy = text
    let result = copy.withUTF8 { bytes in Result { () throws(ImportError) in try read(UnsafeRawBufferPointer(bytes)) } }
    return try result.get()
  }

  /// The bytes of the file; they are not needed afterwards.
  public static func read(_ bytes: UnsafeRawBufferPointer) throws(ImportError) -> ImportedModel {
    var reader = LightGBMReader(bytes)
    return try reader.read()
  }

  /// Whether a file begins as LightGBM's do.
  public static func recognizes(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var lines = TextLines(UnsafeRawBufferPointer(rebasing: bytes.prefix(64)))
    guard let first = lines.next() else { return false }
    return first == "tree"
  }
}

private struct LightGBMReader {
  private var lines: TextLines
  private var version = ""
  private var classCount: Int?
  private var treesPerIteration: Int?
  private var featureCount: Int?
  private var featureNames: [String] = []
  private var featureInfos: TextSlice?
  private var objective = LightGBMObjective.custom
  private var isAveraged = false
  private var treeSizeCount: Int?

  init(_ bytes: UnsafeRawBufferPointer) { lines = TextLines(bytes) }

  mutating func read() throws(ImportError) -> ImportedModel {
    guard let first = lines.next(), first == "tree" else {
      throw ImportError(place: "line 1", reason: "LightGBM's text models begin with a line \"tree\"")
    }
    let firstTree = try readHeader()
    guard let featureCount else { throw ImportError(place: "header", reason: "it has no max_feature_idx") }
    guard version == "v3" || version == "v4" else {
      throw ImportError(
        place: "header, version",
        reason: "\"\(version)\" is not read (v3 and v4 are): load the file in a current LightGBM and save it again with Booster.save_model")
    }
    let outputCount = treesPerIteration ?? classCount ?? 1
    if let stated = objective.classCount, objective.link == .softmax || stated > 1, stated != outputCount {
      throw ImportError(place: "header, objective", reason: "\(stated) classes, and \(outputCount) trees in each iteration")
    }
    guard featureNames.isEmpty || featureNames.count == featureCount else {
      throw ImportError(place: "header, feature_names", reason: "\(featureNames.count) names for \(featureCount) features")
    }

    var ensemble = TreeEnsemble(
      featureCount: featureCount, outputCount: outputCount, summation: .double, link: objective.link, linkScale: objective.linkScale,
      featureNames: featureNames)
    try readTrees(firstTree, into: &ensemble)
    let treeCount = ensemble.trees.count
    if let stated = treeSizeCount, stated != treeCount {
      throw ImportError(place: "line \(lines.number)", reason: "\(treeCount) trees where the header's tree_sizes has \(stated)")
    }
    guard treeCount % outputCount == 0 else {
      throw ImportError(place: "line \(lines.number)", reason: "\(treeCount) trees are no whole iterations of \(outputCount) each")
    }
    var categories = LightGBMCategories()
    while let line = lines.next() { try categories.take(line, number: lines.number) }
    var notes: [String] = []
    let names = categories.resolve(featureCount: featureCount, featureNames: featureNames, infos: featureInfos, notes: &notes)
    if isAveraged { ensemble.divisor = Double(max(1, treeCount / outputCount)) }
    return ImportedModel(
      body: .trees(ensemble), outputs: [OutputTensor(name: "output", shape: [outputCount])], featureCount: featureCount,
      featureNames: featureNames, categories: names, tool: "LightGBM", toolVersion: version, objective: objective.name, notes: notes)
  }

  /// Reads up to the first tree; the name of that tree, or nil when there are none.
  private mutating func readHeader() throws(ImportError) -> String? {
    while let line = lines.next() {
      if line.starts(with: "Tree=") { return line.string }
      if line == "end of trees" { return nil }
      if line == "average_output" {
        isAveraged = true
        continue
      }
      guard let (key, value) = line.split(at: 61) else { continue }
      if key == "version" {
        version = value.string
      } else if key == "num_class" {
        classCount = try count(value, "num_class", max: LightGBMModel.outputsMax)
      } else if key == "num_tree_per_iteration" {
        treesPerIteration = try count(value, "num_tree_per_iteration", max: LightGBMModel.outputsMax)
      } else if key == "max_feature_idx" {
        guard let index = value.integer, index >= -1, index < LightGBMModel.featuresMax else {
          throw ImportError(place: "line \(lines.number), max_feature_idx", reason: "\"\(value.excerpt)\" is not below \(LightGBMModel.featuresMax)")
        }
        featureCount = index + 1
      } else if key == "feature_names" {
        value.forEachWord { featureNames.append($0.string) }
      } else if key == "feature_infos" {
        featureInfos = value
      } else if key == "objective" {
        objective = try LightGBMObjective.read(value, place: "line \(lines.number), objective")
      } else if key == "tree_sizes" {
        var count = 0
        value.forEachWord { _ in count += 1 }
        treeSizeCount = count
      }
    }
    throw ImportError(place: "line \(lines.number)", reason: "the file ends in its header: no \"end of trees\"")
  }

  private mutating func readTrees(_ first: String?, into ensemble: inout TreeEnsemble) throws(ImportError) {
    guard let first else { return }
    var builder = LightGBMTreeBuilder()
    var tree = LightGBMTreeLines(name: first)
    while let line = lines.next() {
      let isNext = line.starts(with: "Tree=")
      if isNext || line == "end of trees" {
        try builder.append(tree, output: ensemble.trees.count % ensemble.outputCount, to: &ensemble)
        if !isNext { return }
        tree = LightGBMTreeLines(name: line.string)
      } else if let (key, value) = line.split(at: 61) {
        try tree.take(key: key, value: value, line: lines.number)
      }
    }
    throw ImportError(place: "line \(lines.number)", reason: "the file ends in \(tree.name): no \"end of trees\"")
  }

  private func count(_ value: TextSlice, _ key: String, max: Int) throws(ImportError) -> Int {
    guard let number = value.integer, number >= 1, number <= max else {
      throw ImportError(place: "line \(lines.number), \(key)", reason: "\"\(value.excerpt)\" is not between 1 and \(max)")
    }
    return number
  }
}
