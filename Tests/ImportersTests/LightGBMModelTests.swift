import Families
import Model
import Testing

@testable import Importers

@Suite struct LightGBMModelTests {
  /// Two trees, the first with a categorical split behind a numeric one.
  static let text = """
    tree
    version=v4
    num_class=1
    num_tree_per_iteration=1
    label_index=0
    max_feature_idx=1
    objective=binary sigmoid:2
    feature_names=age carrier
    feature_infos=[0:9] 2:0:1

    Tree=0
    num_leaves=3
    num_cat=1
    split_feature=0 1
    split_gain=1 1
    threshold=0.5 0
    decision_type=10 1
    left_child=1 -1
    right_child=-2 -3
    leaf_value=0.25 -0.5 1e-3
    cat_boundaries=0 1
    cat_threshold=5
    is_linear=0
    shrinkage=1


    Tree=1
    num_leaves=1
    num_cat=0
    leaf_value=0.125
    shrinkage=1


    end of trees

    feature_importances:
    age=1

    parameters:
    [categorical_feature: 1]
    [objective: binary]
    end of parameters

    pandas_categorical:[["AA", "B\\"6", 7]]

    """

  @Test func readsWhatStandsThere() throws {
    let model = try LightGBMModel.read(Self.text)
    let ensemble = try #require(model.ensemble)
    #expect(ensemble.problems() == [])
    #expect(ensemble.trees.map(\.nodeCount) == [2, 0])
    #expect(
      ensemble.nodes == [
        TreeEnsemble.Node(feature: 0, comparison: .lessOrEqual, missing: .notANumber, defaultLeft: true, threshold: 0.5, left: 1, right: -2),
        TreeEnsemble.Node(
          feature: 1, comparison: .member, missing: .notANumber, defaultLeft: false, threshold: 0, categoryStart: 0, categoryWords: 1, left: -1,
          right: -3),
      ])
    #expect(ensemble.leafValues == [0.25, -0.5, 1e-3, 0.125])
    #expect(ensemble.categoryBits == [5])
    #expect(ensemble.link == .sigmoid && ensemble.linkScale == 2 && ensemble.summation == .double)
    #expect(model.featureNames == ["age", "carrier"])
    #expect(model.categories == [ColumnCategories(column: 1, names: try CategoryNames([.text("AA"), .text("B\"6"), .integer(7)]))])
    #expect(model.toolVersion == "v4" && model.objective == "binary" && model.notes == [])
    #expect(model.outputs.map(\.shape) == [[1]])
    #expect(ensemble.sums(row: [.nan, 2]) == [0.375])
    #expect(ensemble.sums(row: [0.5, 1]) == [0.126])
    #expect(ensemble.sums(row: [0.75, 0]) == [-0.375])
  }

  /// One node reached twice, another not at all, every leaf once: the counts are those of a tree.
  @Test func aNodeOfTwoParentsIsRefused() {
    let text = Self.text.replacing("num_leaves=3", with: "num_leaves=5").replacing("num_cat=1", with: "num_cat=0")
      .replacing("split_feature=0 1", with: "split_feature=0 0 0 0").replacing("threshold=0.5 0", with: "threshold=1 2 3 4")
      .replacing("decision_type=10 1", with: "decision_type=2 2 2 2").replacing("leaf_value=0.25 -0.5 1e-3", with: "leaf_value=1 2 3 4 5")
      .replacing("left_child=1 -1", with: "left_child=1 -1 -3 -4").replacing("right_child=-2 -3", with: "right_child=1 -2 3 -5")
    let error = #expect(throws: ImportError.self) { try LightGBMModel.read(text) }
    #expect(error?.reason.contains("node 1 is reached twice") == true, "\(error?.description ?? "")")
  }

  @Test func linesMayEndAsOnWindows() throws {
    let windows = Self.text.replacing("\n", with: "\r\n")
    #expect(try LightGBMModel.read(windows) == LightGBMModel.read(Self.text))
  }

  @Test func namesWithoutAPlaceAreToldAsANote() throws {
    let without = Self.text.replacing("[categorical_feature: 1]\n", with: "")
    #expect(try LightGBMModel.read(without).categories.map(\.column) == [1], "feature_infos tells it too")
    // Whose values could both be codes; of which neither could.
    for infos in ["[0:2] 2:0:1", "[0:9] 3:0:1", "[0.5:2] [-1:2]", "[0:9] [0:nan]"] {
      for text in [without, Self.text] where !(text == Self.text && infos == "[0:2] 2:0:1") {
        let model = try LightGBMModel.read(text.replacing("feature_infos=[0:9] 2:0:1", with: "feature_infos=\(infos)"))
        #expect(model.categories == [], "\(infos)")
        #expect(model.notes.count == 1 && model.notes[0].contains("send codes"))
      }
    }
    // An ordered column: splits take it as a number, so it is not among the categorical features.
    for infos in ["[0:9] [0:2]", "[-0.5:1] none", "[3:3] -1:0"] {
      #expect(try LightGBMModel.read(without.replacing("feature_infos=[0:9] 2:0:1", with: "feature_infos=\(infos)")).categories.map(\.column) == [1], "\(infos)")
    }
  }

  @Test func namesThatCannotBeServedAreLeftOutWithANote() throws {
    for (names, words) in [(#""AA", "AA""#, "name 1: it is the same as name 0"), ("1, 1.0", "same as name 0"), ("1, Infinity", "no finite number")] {
      let text = Self.text.replacing(#""AA", "B\"6", 7"#, with: names).replacing("2:0:1", with: "0:1")
      let model = try LightGBMModel.read(text)
      #expect(model.categories == [])
      #expect(model.notes.count == 1 && model.notes[0].contains("\"carrier\"") && model.notes[0].contains(words), "\(model.notes)")
    }
    let kinds = try LightGBMModel.read(Self.text.replacing(#""AA", "B\"6", 7"#, with: "true, 2.5, 1234567890123456789")).categories
    #expect(kinds.map(\.names.names) == [[.boolean(true), .number(2.5), .integer(1_234_567_890_123_456_789)]])
  }

  @Test(arguments: [":", "::", ":2", "reg_sqrt:"]) func unknownWordsOfTheObjectiveArePassedOver(_ word: String) throws {
    let model = try LightGBMModel.read(Self.text.replacing("objective=binary sigmoid:2", with: "objective=binary sigmoid:2 \(word)"))
    #expect(model.ensemble?.linkScale == 2)
  }

  /// LightGBM leaves tiny values out of rows, so that trees see a zero.
  @Test(arguments: [0.0, 5e-36, -5e-36, -0.0, 1e-35, -1e-35, 1e-30]) func tinyValuesAreZerosToEverySplit(_ threshold: Double) throws {
    let model = try LightGBMModel.read(Self.text.replacing("threshold=0.5 0", with: "threshold=\(threshold) 0"))
    let ensemble = try #require(model.ensemble)
    let zero = Double(Float(1e-35))
    for value in [0, 1e-36, -1e-36, zero, -zero, zero.nextUp, (-zero).nextDown, 1e-34, -1e-34, threshold] {
      let seen = abs(value) > zero ? value : 0
      #expect((ensemble.sums(row: [value, 1]) == [0.126]) == (seen <= threshold), "\(value) at \(threshold)")
    }
  }

  @Test(arguments: [
    ("is_linear=0", "is_linear=1", "linear_tree"),
    ("tree\n", "booster\n", "line 1"),
    ("version=v4", "version=v2", "save it again"),
    ("version=v4", "version=v5", "save it again"),
    ("objective=binary sigmoid:2", "objective=mystery", "mystery"),
    ("objective=binary sigmoid:2", "objective=binary sigmoid:0", "sigmoid:0"),
    ("objective=binary sigmoid:2", "objective=multiclass num_class:3", "3 classes"),
    ("objective=binary sigmoid:2", "objective=binary sigmoid:", "sigmoid:"),
    ("objective=binary sigmoid:2", "objective=:", "\":\""),
    ("max_feature_idx=1", "max_feature_idx=99999999999", "max_feature_idx"),
    ("max_feature_idx=1", "max_feature_idx=2", "2 names for 3"),
    ("num_tree_per_iteration=1", "num_tree_per_iteration=0", "num_tree_per_iteration"),
    ("num_leaves=3", "num_leaves=4", "leaf_value"),
    ("num_leaves=3", "num_leaves=-3", "num_leaves"),
    ("num_leaves=3", "num_leaves=2000000000", "leaf_value"),
    ("num_leaves=3\n", "", "no num_leaves"),
    ("split_feature=0 1", "split_feature=0 2", "split_feature[1]"),
    ("split_feature=0 1", "split_feature=0 x", "\"x\""),
    ("left_child=1 -1", "left_child=1 2", "neither"),
    ("left_child=1 -1", "left_child=1 -4", "neither"),
    ("left_child=1 -1", "left_child=1 1", "not a tree"),
    ("left_child=1 -1", "left_child=0 -1", "not a tree"),
    ("left_child=1 -1", "left_child=1 -2", "not a tree"),
    ("left_child=1 -1\n", "", "no left_child"),
    ("decision_type=10 1", "decision_type=14 1", "kind of missing"),
    ("threshold=0.5 0", "threshold=0.5 1", "set of categories"),
    ("threshold=0.5 0", "threshold=nan 0", "not a number"),
    ("leaf_value=0.25 -0.5 1e-3", "leaf_value=0.25 nan 1e-3", "leaf_value[1]"),
    ("leaf_value=0.25 -0.5 1e-3", "leaf_value=0.25 - 1e-3", "\"-\""),
    ("cat_boundaries=0 1", "cat_boundaries=0 2", "1 values where"),
    ("cat_boundaries=0 1", "cat_boundaries=1 1", "must be 0"),
    ("cat_boundaries=0 1", "cat_boundaries=0 -1", "ascend"),
    ("cat_threshold=5", "cat_threshold=4294967296", "32 bits"),
    ("end of trees", "end of tree", "ends in Tree=1"),
    ("label_index=0", "tree_sizes=10 20 30", "tree_sizes"),
    ("pandas_categorical:[[", "pandas_categorical:[[[", "pandas_categorical"),
  ])
  func whatIsWrongIsRefusedWithItsPlace(_ part: String, _ replacement: String, _ told: String) throws {
    try #require(Self.text.contains(part))
    let broken = Self.text.replacing(part, with: replacement, maxReplacements: 1)
    let error = #expect(throws: ImportError.self) { try LightGBMModel.read(broken) }
    #expect(error?.description.contains(told) == true, "\(error?.description ?? "")")
  }
}
