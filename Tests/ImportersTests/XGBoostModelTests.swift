import Families
import Foundation
import Model
import Testing

@testable import Importers

@Suite struct XGBoostModelTests {
  /// One tree of a numeric and a categorical split, with a node that pruning left behind.
  static let tree = """
    {"base_weights":[0,0,0,0,0,0],"categories":[0,33],"categories_nodes":[2],"categories_segments":[0],"categories_sizes":[2],
    "default_left":[1,0,0,0,0,0],"id":0,"left_children":[1,-1,4,-1,-1,-1],"loss_changes":[1,0,1,0,0,0],"parents":[2147483647,0,0,0,2,2],
    "right_children":[2,-1,5,-1,-1,-1],"split_conditions":[5E-1,1E0,0,7,2.5E-1,-1E-1],"split_indices":[0,0,1,0,0,0],
    "split_type":[0,0,1,0,0,0],"sum_hessian":[1,1,1,1,1,1],
    "tree_param":{"num_deleted":"1","num_feature":"2","num_nodes":"6","size_leaf_vector":"1"}}
    """

  static func document(
    trees: [String] = [tree], info: String = "[0]", objective: String = "binary:logistic", base: String = "5E-1", classes: Int = 0, targets: Int = 1,
    attributes: String = "{}", version: String = "[3,2,0]", indptr: String = "[0,1]", names: String = "[\"age\",\"carrier\"]", cats: String = ""
  ) -> String {
    """
    {"learner":{"attributes":\(attributes),"feature_names":\(names),"feature_types":["float","c"],"gradient_booster":{"model":{\(cats)
    "gbtree_model_param":{"num_parallel_tree":"1","num_trees":"\(trees.count)"},"iteration_indptr":\(indptr),"tree_info":\(info),
    "trees":[\(trees.joined(separator: ","))]},"name":"gbtree"},"learner_model_param":{"base_score":"\(base)","boost_from_average":"1",
    "num_class":"\(classes)","num_feature":"2","num_target":"\(targets)"},"objective":{"name":"\(objective)"}},"version":\(version)}
    """
  }

  static func read(_ text: String, _ iterations: XGBoostModel.Iterations = .asSaved) throws(ImportError) -> ImportedModel {
    let result = Array(text.utf8).withUnsafeBytes { bytes in
      Result { () throws(ImportError) in try XGBoostModel.read(bytes, iterations: iterations) }
    }
    return try result.get()
  }

  @Test func readsWhatStandsThere() throws {
    let model = try Self.read(Self.document())
    let ensemble = try #require(model.ensemble)
    #expect(ensemble.problems() == [])
    #expect(ensemble.nodes.count == 2 && ensemble.leafValues.count == 3, "the pruned node is gone")
    #expect(ensemble.link == .sigmoid && ensemble.summation == .float && ensemble.baseScores == [0])
    #expect(model.toolVersion == "3.2.0" && model.featureNames == ["age", "carrier"])
    #expect(ensemble.sums(row: [0.25, 0]) == [1])
    #expect(ensemble.sums(row: [.nan, 0]) == [1])
    #expect(ensemble.sums(row: [0.5, 0]) == [Double(Float(-0.1))], "a category of the set goes right")
    #expect(ensemble.sums(row: [0.5, 33]) == [Double(Float(-0.1))])
    #expect(ensemble.sums(row: [0.5, 1]) == [0.25])
    #expect(ensemble.sums(row: [0.5, 1e9]) == [0.25])
    #expect(ensemble.sums(row: [0.5, -2]) == [0.25])
    #expect(ensemble.sums(row: [0.5, .nan]) == [Double(Float(-0.1))], "missing goes right, as default_left says")
  }

  @Test(arguments: [
    ("reg:squarederror", "3", 3.0), ("binary:logistic", "2E-1", Double(-logf(1 / Float(0.2) - 1))), ("count:poisson", "2E0", Double(logf(2))),
    ("binary:logitraw", "2E-1", Double(Float(0.2))), ("survival:aft", "[5E-1]", Double(logf(0.5))), ("reg:gamma", "(4)", nil),
    ("binary:logistic", "0", Double(-logf(1 / Float(1e-6) - 1))), ("binary:logistic", "1.5", nil), ("reg:tweedie", "0", nil),
    ("reg:squarederror", "NaN", nil), ("reg:squarederror", "[1,2]", nil), ("reg:squarederror", "x", nil),
  ] as [(String, String, Double?)])
  func baseScoresBecomeMargins(_ objective: String, _ base: String, _ margin: Double?) throws {
    guard let margin else {
      #expect(throws: ImportError.self) { try Self.read(Self.document(objective: objective, base: base)) }
      return
    }
    #expect(try Self.read(Self.document(objective: objective, base: base)).ensemble?.baseScores == [margin])
  }

  @Test func earlyStoppingCutsWhatTheEstimatorWouldNotUse() throws {
    func document(_ attributes: String, _ indptr: String) -> String {
      Self.document(trees: [Self.tree, Self.tree, Self.tree], info: "[0,0,0]", attributes: attributes, indptr: indptr)
    }
    let booster = document(#"{"best_iteration":"1"}"#, "[0,1,2,3]")
    let estimator = document(#"{"best_iteration":"1","scikit_learn":"{}"}"#, "[0,1,2,3]")
    #expect(try Self.read(booster).ensemble?.trees.count == 3)
    #expect(try Self.read(booster).notes.count == 1)
    #expect(try Self.read(booster, .best).ensemble?.trees.count == 2)
    #expect(try Self.read(estimator).ensemble?.trees.count == 2)
    #expect(try Self.read(estimator).ensemble?.nodes.count == 4)
    #expect(try Self.read(estimator).ensemble?.problems() == [])
    #expect(try Self.read(estimator, .all).ensemble?.trees.count == 3)
    #expect(try Self.read(document(#"{"best_iteration":"1","scikit_learn":"{}"}"#, "[]")).ensemble?.trees.count == 2, "before 2.0")
    #expect(throws: ImportError.self) { try Self.read(document(#"{"best_iteration":"3","scikit_learn":"{}"}"#, "[0,1,2,3]")) }
    #expect(throws: ImportError.self) { try Self.read(document(#"{"best_iteration":"1","scikit_learn":"{}"}"#, "[0,1,9,3]")) }
  }

  /// From 2.0 to 3.1 every node had its values; from 3.2 on leaves have a list, and the right child says which.
  @Test func vectorLeavesOfBothForms() throws {
    func tree(_ weights: String, _ right: String) -> String {
      """
      {\(weights),"default_left":[1,0,0],"left_children":[1,-1,-1],"right_children":\(right),"split_conditions":[0.5,0,0],
      "split_indices":[1,0,0],"split_type":[0,0,0],"categories":[],"categories_nodes":[],"categories_segments":[],"categories_sizes":[],
      "tree_param":{"size_leaf_vector":"2"}}
      """
    }
    let old = try Self.read(
      Self.document(trees: [tree(#""base_weights":[9,9,1,2,3,4]"#, "[2,-1,-1]")], objective: "reg:squarederror", base: "0", targets: 2))
    let new = try Self.read(
      Self.document(
        trees: [tree(#""base_weights":[9,9],"leaf_weights":[3,4,1,2]"#, "[2,1,0]")], objective: "reg:squarederror", base: "[0,0]", targets: 2))
    for model in [old, new] {
      #expect(model.ensemble?.sums(row: [0, 0]) == [1, 2])
      #expect(model.ensemble?.sums(row: [0, 1]) == [3, 4])
      #expect(model.outputs.map(\.shape) == [[2]])
    }
  }

  @Test func namesOfCategoriesComeWithTheModel() throws {
    let cats = """
      "cats":{"enc":[{"offsets":[],"values":[]},{"offsets":[0,2,4,9],"values":[65,65,66,54,85,110,105,195,159]}],"feature_segments":[0,0,3],
      "sorted_idx":[]},
      """
    #expect(try Self.read(Self.document(version: "[3,4,0]", cats: cats)).categories == [ColumnCategories(column: 1, names: try CategoryNames([.text("AA"), .text("B6"), .text("Uni\u{DF}")]))])
    // Before 3.4 lengths are in letters, so nobody knows where names end.
    let old = try Self.read(Self.document(cats: cats))
    #expect(old.categories == [] && old.notes.contains { $0.contains("\"carrier\" are left out: XGBoost before 3.4") }, "\(old.notes)")
    let numbers = #""cats":{"enc":[{"type":13,"values":[3,7]},{"type":13,"values":[]}],"feature_segments":[0,2,2],"sorted_idx":[]},"#
    #expect(try Self.read(Self.document(cats: numbers)).categories == [ColumnCategories(column: 0, names: try CategoryNames([.integer(3), .integer(7)]))])
    // More columns than features: names of none.
    let behind = cats.replacing("{\"offsets\":[],\"values\":[]},", with: "{\"offsets\":[],\"values\":[]},{\"offsets\":[],\"values\":[]},")
    let model = try Self.read(Self.document(version: "[3,4,0]", cats: behind))
    #expect(model.categories == [] && model.notes.contains { $0.contains("feature 2 are left out") }, "\(model.notes)")
  }

  @Test func aPickledBoosterIsReadToo() throws {
    let whole = Self.document()
    #expect(try Self.read("{\"Config\":{\"learner\":[1,{\"x\":\"]}\"}]},\"Model\":\(whole)}") == Self.read(whole))
  }

  @Test func treesOfTheFirstVersionsHaveBooleans() throws {
    let old = Self.tree.replacing("\"default_left\":[1,0,0,0,0,0]", with: "\"default_left\":[true,false,false,false,false,false]")
    #expect(try Self.read(Self.document(trees: [old])) == Self.read(Self.document()))
  }

  @Test(arguments: [
    ("\"left_children\":[1,", "\"left_children\":[0,", "reached twice"),
    ("\"left_children\":[1,", "\"left_children\":[6,", "children 6"),
    ("\"left_children\":[1,", "\"left_children\":[-2,", "children -2"),
    ("\"right_children\":[2,", "\"right_children\":[1,", "reached twice"),
    ("\"right_children\":[2,", "\"right_children\":[", "different lengths"),
    ("\"split_indices\":[0,", "\"split_indices\":[5,", "feature 5"),
    ("\"split_indices\":[0,", "\"split_indices\":[-1,", "feature -1"),
    ("\"split_indices\":[0,", "\"split_indices\":[1e9,", "integer"),
    ("[5E-1,1E0,", "[NaN,1E0,", "not a number"),
    ("[5E-1,1E0,", "[5E-1,Infinity,", "no score"),
    ("[5E-1,1E0,", "[5E-1,1E0x,", "number"),
    ("\"categories\":[0,33]", "\"categories\":[0,-1]", "categories must lie"),
    ("\"categories\":[0,33]", "\"categories\":[0,16777216]", "categories must lie"),
    ("\"categories_sizes\":[2]", "\"categories_sizes\":[3]", "categories_sizes"),
    ("\"categories_segments\":[0]", "\"categories_segments\":[2147483647]", "categories_sizes"),
    ("\"categories_nodes\":[2]", "\"categories_nodes\":[6]", "categories_nodes"),
    ("\"categories_nodes\":[2]", "\"categories_nodes\":[]", "differ in length"),
    ("\"tree_info\":[0]", "\"tree_info\":[1]", "tree_info[0]"),
    ("\"tree_info\":[0]", "\"tree_info\":[0,0]", "2 entries"),
    ("\"name\":\"binary:logistic\"", "\"name\":\"reg:mystery\"", "reg:mystery"),
    ("\"name\":\"gbtree\"", "\"name\":\"gbforest\"", "gbforest"),
    ("\"num_feature\":\"2\",\"num_target\"", "\"num_feature\":\"99999999999\",\"num_target\"", "num_feature"),
    ("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\"", "no values"),
    ("\"learner\":{", "\"lerner\":{", "no \"learner\""),
    ("\"version\"", "\"learner\":{},\"version\"", "second"),
    (",\"version\":[3,2,0]}", ",\"version\":[3,2,0]", "ends"),
    (",\"version\":[3,2,0]}", ",\"version\":[3,2,0]}x", "follows"),
  ])
  func whatIsWrongIsRefusedWithItsPlace(_ part: String, _ replacement: String, _ told: String) throws {
    let text = Self.document()
    try #require(text.contains(part))
    let error = #expect(throws: ImportError.self) { try Self.read(text.replacing(part, with: replacement, maxReplacements: 1)) }
    #expect(error?.description.contains(told) == true, "\(error?.description ?? "")")
  }

  @Test func otherFilesAreRefused() throws {
    for text in ["", "{", "binf\0", "tree\nversion=v4", "[]", "{}", "{\"a\":1}", "{L", "{U\u{3}abc"] {
      #expect(throws: ImportError.self, "\(text)") { try Self.read(text) }
    }
  }
}
