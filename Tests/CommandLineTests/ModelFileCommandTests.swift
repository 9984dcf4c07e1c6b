import Foundation
import Testing

/// `millrace model import`, `inspect`, `verify`, `score`, `bench` and `quantize`, as a shell starts them.
@Suite struct ModelFileCommandTests {
  /// Two trees over two features, in LightGBM's text format.
  static let lightgbm = """
    tree
    version=v4
    num_class=1
    num_tree_per_iteration=1
    label_index=0
    max_feature_idx=1
    objective=binary sigmoid:1
    feature_names=age income
    feature_infos=[0:100] [0:1000]
    tree_sizes=300 300

    Tree=0
    num_leaves=3
    num_cat=0
    split_feature=0 1
    split_gain=1 1
    threshold=30.5 500.5
    decision_type=2 2
    left_child=-1 -2
    right_child=1 -3
    leaf_value=-0.5 0.25 0.75
    leaf_weight=1 1 1
    leaf_count=10 10 10
    internal_value=0 0
    internal_weight=0 0
    internal_count=30 20
    is_linear=0
    shrinkage=1


    Tree=1
    num_leaves=2
    num_cat=0
    split_feature=1
    split_gain=1
    threshold=100.5
    decision_type=2
    left_child=-1
    right_child=-2
    leaf_value=0.125 -0.125
    leaf_weight=1 1
    leaf_count=10 10
    internal_value=0
    internal_weight=0
    internal_count=20
    is_linear=0
    shrinkage=0.1


    end of trees

    feature_importances:
    age=1

    parameters:
    end of parameters

    pandas_categorical:null

    """

  private func folder() throws -> ScratchFolder {
    let folder = try ScratchFolder()
    _ = try folder.write("model.txt", Self.lightgbm)
    return folder
  }

  private func run(_ folder: ScratchFolder, _ arguments: String...) throws -> MillraceProcess.Result {
    try MillraceProcess.run(["model"] + arguments, folder: folder.url)
  }

  private func json(_ text: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
  }

  @Test func namesOfCategoriesAreShownAndScoredBy() throws {
    let folder = try ScratchFolder()
    _ = try folder.write(
      "model.txt",
      Self.lightgbm.replacingOccurrences(of: "[0:100] [0:1000]", with: "0:1:2 [0:1000]").replacingOccurrences(of: "threshold=30.5", with: "threshold=0.5")
        .replacingOccurrences(of: "parameters:\n", with: "parameters:\n[categorical_feature: 0]\n")
        .replacingOccurrences(of: "pandas_categorical:null", with: #"pandas_categorical:[["x", "y", "\u00e9"]]"#))
    let imported = try run(folder, "import", "model.txt", "--name", "fraud")
    #expect(imported.status == 0 && imported.output.contains("categories  3 names in 1 columns"), "\(imported.output)\(imported.errors)")
    let table = try run(folder, "inspect", "fraud.millrace").output
    #expect(table.contains("categories of  codes   names") && table.contains(#"age            0 to 2  "x" "y" "é""#), "\(table)")
    let manifest = try #require(try json(try run(folder, "inspect", "fraud.millrace", "--json").output)["manifest"] as? [String: Any])
    let input = try #require((manifest["inputs"] as? [[String: Any]])?.first)
    #expect((input["categories"] as? [[String: Any]])?.first?["names"] as? [String] == ["x", "y", "é"])
    #expect(manifest["categories"] == nil)

    // x goes left in the first tree, the others go on to income.
    _ = try folder.write("rows.csv", "age,income\nx,50\né,400\n1,600\nnever seen,600\n")
    _ = try folder.write("rows.jsonl", ["\"x\",\"income\":50", "\"é\",\"income\":400", "1,\"income\":600", "\"never seen\",\"income\":600"].enumerated()
      .map { "{\"id\":\"\($0)\",\"features\":{\"age\":\($1)}}" }.joined(separator: "\n"))
    for data in ["rows.csv", "rows.jsonl"] {
      let scored = try run(folder, "score", "fraud.millrace", "--data", data)
      let found = scored.output.split(separator: "\n").dropFirst().compactMap { Double($0) }
      #expect(found.count == 4, "\(data): \(scored.output)\(scored.errors)")
      for (score, sum) in zip(found, [-0.5 + 0.125, 0.25 - 0.125, 0.75 - 0.125, -0.5 - 0.125]) { #expect(abs(score - 1 / (1 + exp(-sum))) < 1e-6, "\(data)") }
    }
    _ = try folder.write("bad.jsonl", #"{"id":"1","features":{"age":"x","income":"much"}}"#)
    let refused = try run(folder, "score", "fraud.millrace", "--data", "bad.jsonl")
    #expect(refused.status == 1 && refused.errors.contains("income: "), "\(refused.errors)")
  }

  @Test func aLightGBMModelIsImportedInspectedVerifiedAndScored() throws {
    let folder = try folder()
    let imported = try run(folder, "import", "model.txt", "--name", "fraud", "--version", "3", "--labels", "canary", "--max-batch-size", "64")
    #expect(imported.status == 0, "\(imported.errors)")
    #expect(imported.output.contains("fraud.3  family trees"), "\(imported.output)")
    #expect(imported.output.contains("fraud.millrace"))

    let table = try run(folder, "inspect", "fraud.millrace")
    #expect(table.status == 0 && table.output.contains("age income"), "\(table.output)\(table.errors)")
    let object = try json(try run(folder, "inspect", "fraud.millrace", "--json").output)
    let manifest = try #require(object["manifest"] as? [String: Any])
    #expect(manifest["name"] as? String == "fraud" && manifest["version"] as? Int == 3)
    #expect(manifest["labels"] as? [String] == ["canary"] && manifest["max_batch_size"] as? Int == 64)
    #expect((manifest["source"] as? [String: Any])?["file"] as? String == "model.txt")
    #expect((object["sections"] as? [[String: Any]])?.isEmpty == false)

    let verified = try run(folder, "verify", "fraud.millrace")
    #expect(verified.status == 0 && verified.output.contains("whole"), "\(verified.output)\(verified.errors)")

    // Leaves of both trees, then the sigmoid; an empty field is missing and goes right where LightGBM's decision type says so.
    _ = try folder.write("rows.csv", "id,income,age\na,50,20\nb,400,40\nc,600,40\n")
    let scored = try run(folder, "score", "fraud.millrace", "--data", "rows.csv")
    #expect(scored.status == 0, "\(scored.errors)")
    let lines = scored.output.split(separator: "\n").map(String.init)
    #expect(lines.count == 4, "\(scored.output)")
    for (line, sum) in zip(lines.dropFirst(), [-0.5 + 0.125, 0.25 - 0.125, 0.75 - 0.125]) {
      let score = try #require(Double(line), "\(line)")
      #expect(abs(score - 1 / (1 + exp(-sum))) < 1e-6)
    }
    _ = try folder.write("labelled.csv", "income,age,fraud\n50,20,0\n400,40,0\n600,40,1\n")
    let quality = try json(try run(folder, "score", "fraud.millrace", "--data", "labelled.csv", "--label", "fraud", "--json").output)
    #expect(quality["auc"] as? Double == 1)

    let bench = try json(try run(folder, "bench", "fraud.millrace", "--batch", "1,4", "--seconds", "0.05", "--rows", "64", "--isa", "scalar", "--tables", "mapped", "--json").output)
    let batches = try #require(bench["batches"] as? [[String: Any]])
    #expect(batches.map { $0["batch"] as? Int } == [1, 4] && batches.allSatisfy { ($0["rows_per_second"] as? Double ?? 0) > 0 })
  }

  @Test func whatCannotBeImportedIsRefusedWithItsPlace() throws {
    let folder = try folder()
    func refusal(_ name: String, _ bytes: Data, _ more: String...) throws -> String {
      try bytes.write(to: folder.url.appendingPathComponent(name))
      let result = try MillraceProcess.run(["model", "import", name] + more, folder: folder.url)
      #expect(result.status == 1 && !result.errors.isEmpty, "\(name): \(result.output)\(result.errors)")
      #expect(!FileManager.default.fileExists(atPath: folder.url.appendingPathComponent("bad.millrace").path))
      return result.errors
    }
    let text = Self.lightgbm
    #expect(try refusal("bad.txt", Data(text.replacing("left_child=-1 -2", with: "left_child=-1 7").utf8)).contains("bad.txt: "))
    #expect(try refusal("bad.txt", Data(text.replacing("version=v4", with: "version=v2").utf8)).contains("version"))
    #expect(try refusal("bad.txt", Data(text.prefix(400).utf8)).contains("bad.txt: "))
    #expect(try refusal("bad.pt", Data([0x50, 0x4B, 3, 4, 0, 0])).contains("torch.onnx.export"))
    #expect(try refusal("bad.pkl", Data([0x80, 4, 0x95, 1])).contains("skl2onnx"))
    #expect(try refusal("bad.bin", Data("hello".utf8)).contains("none of LightGBM text"))
    #expect(try refusal("bad.bin", Data()).contains("none of LightGBM text"))
    #expect(try refusal("bad.json", Data("{\"learner\":1}".utf8), "--format", "xgboost").contains("bad.json: "))
    let missing = try run(folder, "import", "none.txt")
    #expect(missing.status == 1 && missing.errors.contains("none.txt cannot be read"))
    #expect(try run(folder, "import", "model.txt", "--name", "a/b").status == 64)
    #expect(try run(folder, "import", "model.txt", "--version", "0").status == 64)
  }

  @Test func damageIsFoundByVerify() throws {
    let folder = try folder()
    #expect(try run(folder, "import", "model.txt", "--name", "m").status == 0)
    let file = folder.url.appendingPathComponent("m.millrace")
    let whole = try Data(contentsOf: file)
    let sections = try #require(try json(try run(folder, "inspect", "m.millrace", "--json").output)["sections"] as? [[String: Any]])
    let last = try #require(sections.last { ($0["bytes"] as? Int ?? 0) > 0 })
    var damaged = whole
    damaged[try #require(last["offset"] as? Int)] ^= 1
    try damaged.write(to: file)
    let result = try run(folder, "verify", "m.millrace")
    #expect(result.status == 1 && result.output.contains("WRONG") && result.output.contains("the checksum does not hold"), "\(result.output)\(result.errors)")
    try whole.prefix(whole.count - 1).write(to: file)
    #expect(try run(folder, "verify", "m.millrace").output.contains("cut off"))
    #expect(try run(folder, "inspect", "m.millrace").status == 1)
    #expect(try run(folder, "bench", "m.millrace").status == 1)
    // Without the name's ending a model of the log would be meant, unless the file is there.
    try whole.write(to: folder.url.appendingPathComponent("plain"))
    #expect(try run(folder, "verify", "plain").status == 0)
  }

  @Test func badDataIsRefusedWithItsLine() throws {
    let folder = try folder()
    #expect(try run(folder, "import", "model.txt", "--name", "m").status == 0)
    func refusal(_ text: String, _ more: String...) throws -> String {
      _ = try folder.write("rows.csv", text)
      let result = try MillraceProcess.run(["model", "score", "m.millrace", "--data", "rows.csv"] + more, folder: folder.url)
      #expect(result.status == 1, "\(result.output)\(result.errors)")
      return result.errors
    }
    #expect(try refusal("age,income\n1,2\n3\n").contains("rows.csv:3: the row has 1 fields, the header 2"))
    #expect(try refusal("age,income\n1,much\n").contains("rows.csv:2"))
    #expect(try refusal("a,b\n1,2\n").contains("none of its columns is the model's"))
    #expect(try refusal("age,income\n1,2\n", "--label", "y").contains("no column \"y\""))
    #expect(try refusal("age,income\n").contains("has no rows"))
    #expect(try refusal("").contains("expected a header"))
  }

  @Test func treesHaveNothingToQuantize() throws {
    let folder = try folder()
    #expect(try run(folder, "import", "model.txt", "--name", "m").status == 0)
    let result = try run(folder, "quantize", "m.millrace", "-o", "q.millrace", "--to", "int8")
    #expect(result.status == 1 && result.errors.contains("nothing to gain"), "\(result.errors)")
    #expect(!FileManager.default.fileExists(atPath: folder.url.appendingPathComponent("q.millrace").path))
    #expect(try run(folder, "quantize", "m.millrace", "-o", "q.millrace", "--to", "int9").status == 64)
    #expect(try run(folder, "quantize", "m.millrace", "-o", "q.millrace", "--to", "int8", "--max-auc-loss", "0.1").status == 64)
  }

  /// Weights of a factorization machine over 16 rows, as PyTorch's users save them.
  static func safetensors(_ folder: ScratchFolder) throws {
    let (rows, factors) = (16, 4)
    let values = (0..<(rows * (1 + factors) + 1)).map { Float(($0 * 37) % 101) / 101 - 0.5 }
    let ends = [rows * 4, rows * (1 + factors) * 4, (rows * (1 + factors) + 1) * 4]
    let header = """
      {"linear.weight":{"dtype":"F32","shape":[\(rows)],"data_offsets":[0,\(ends[0])]},\
      "factors.weight":{"dtype":"F32","shape":[\(rows),\(factors)],"data_offsets":[\(ends[0]),\(ends[1])]},\
      "bias":{"dtype":"F32","shape":[1],"data_offsets":[\(ends[1]),\(ends[2])]}}
      """
    var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
    bytes.append(contentsOf: header.utf8)
    for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) } }
    try bytes.write(to: folder.url.appendingPathComponent("clicks.safetensors"))
    _ = try folder.write(
      "clicks.yaml", "model: clicks\nfamily: {fm: {}}\nloss: logistic\nfeatures: {user: categorical, item: categorical, price: numeric}\n")
  }

  @Test func aBoundThatIsBrokenRefusesTheQuantizedModel() throws {
    let folder = try folder()
    try Self.safetensors(folder)
    let unspecified = try run(folder, "import", "clicks.safetensors")
    #expect(unspecified.status == 1 && unspecified.errors.contains("--specification"), "\(unspecified.errors)")
    let imported = try run(folder, "import", "clicks.safetensors", "--specification", "clicks.yaml")
    #expect(imported.status == 0 && imported.output.contains("family fm"), "\(imported.output)\(imported.errors)")
    var rows = "user,item,price,clicked\n"
    for row in 0..<200 { rows += "u\(row % 23),i\(row * 7 % 31),\(Double(row % 10) / 10),\(row * 13 % 5 == 0 ? 1 : 0)\n" }
    _ = try folder.write("eval.csv", rows)
    let names: () throws -> [String] = { try FileManager.default.contentsOfDirectory(atPath: folder.url.path).filter { $0.hasPrefix("small") } }

    func quantize(_ more: String...) throws -> MillraceProcess.Result {
      try MillraceProcess.run(
        ["model", "quantize", "clicks.millrace", "-o", "small.millrace", "--to", "int8", "--data", "eval.csv", "--label", "clicked", "--seconds", "0"] + more,
        folder: folder.url)
    }
    let refused = try quantize("--max-score-loss", "0.0000001")
    #expect(refused.status == 1, "\(refused.output)")
    #expect(refused.errors.contains("refused: the score moves by up to") && refused.errors.contains("nothing was written"), "\(refused.errors)")
    #expect(try names() == [])
    let lossy = try quantize("--max-auc-loss=-1")
    #expect(lossy.status == 1 && lossy.errors.contains("refused: AUC falls by"), "\(lossy.errors)")

    let kept = try quantize("--max-score-loss", "0.1", "--max-auc-loss", "0.1", "--max-logloss-loss", "0.1", "--json")
    #expect(kept.status == 0, "\(kept.errors)")
    #expect(try names() == ["small.millrace"], "no candidate stays")
    let object = try json(kept.output)
    #expect((object["score_max"] as? Double ?? 1) < 0.1 && (object["score_max"] as? Double ?? 0) > 0)
    #expect(object["rows"] as? Int == 200)
    let manifest = try #require(try json(try run(folder, "inspect", "small.millrace", "--json").output)["manifest"] as? [String: Any])
    #expect((manifest["quantization"] as? [String: Any])?["to"] as? String == "int8")
    #expect((manifest["parameters"] as? [String: Any])?["precision"] as? String == "int8")
    #expect(try run(folder, "verify", "small.millrace").status == 0)
    #expect(try run(folder, "quantize", "clicks.millrace", "-o", "small.millrace", "--to", "int8", "--static", "--calibrate", "eval.csv").status == 1)
    #expect(try run(folder, "quantize", "clicks.millrace", "-o", "small.millrace", "--to", "int8", "--static").status == 64)
  }
}
