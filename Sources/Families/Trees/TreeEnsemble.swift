/// A forest as importers make it: every source's rules spelled out, nothing packed. `TreeModel` packs it for scoring; `score(row:)` in
/// `TreeEnsemble+Reference.swift` is the oracle.
public struct TreeEnsemble: Sendable, Equatable {
  /// When a value goes to the left child.
  public enum Comparison: UInt8, Sendable {
    case lessOrEqual = 1
    case less = 2
    case greaterOrEqual = 3
    case greater = 4
    case equal = 5
    case notEqual = 6
    /// The value, truncated to a whole number, is one of the node's categories. Negative or too large: it is none of them.
    case member = 7
  }

  /// What counts as missing; a missing value takes the node's default side.
  public enum Missing: UInt8, Sendable {
    /// Nothing. A NaN is read as 0 (LightGBM's `missing_type=None`).
    case nothing = 0
    case notANumber = 1
    /// NaN, and what is within 1e-35 of 0 (LightGBM's `missing_type=Zero`).
    case zero = 2
    /// Nothing; a NaN is compared as IEEE says (ONNX without missing-value tracking, scikit-learn).
    case compared = 3
  }

  public struct Node: Sendable, Equatable {
    public var feature: Int32
    public var comparison: Comparison
    public var missing: Missing
    /// Where a missing value goes.
    public var defaultLeft: Bool
    public var threshold: Double
    /// Of `member`: words of `categoryBits`; bit c of them set means category c is in.
    public var categoryStart: Int32
    public var categoryWords: Int32
    /// 0 and above: a node of the same tree, counted from the tree's first; below 0: leaf `~child` of the same tree.
    public var left: Int32
    public var right: Int32

    public init(
      feature: Int32, comparison: Comparison, missing: Missing, defaultLeft: Bool, threshold: Double, categoryStart: Int32 = 0,
      categoryWords: Int32 = 0, left: Int32, right: Int32
    ) {
      self.feature = feature
      self.comparison = comparison
      self.missing = missing
      self.defaultLeft = defaultLeft
      self.threshold = threshold
      self.categoryStart = categoryStart
      self.categoryWords = categoryWords
      self.left = left
      self.right = right
    }
  }

  /// Nodes and leaves are the ranges from its start to the next tree's. A tree without nodes is its one leaf.
  public struct Tree: Sendable, Equatable {
    public var nodeStart: Int32
    public var nodeCount: Int32
    /// In leaves, not in values.
    public var leafStart: Int32
    public var leafCount: Int32
    /// The output that a leaf's single value is added to; leaves of width `outputs` add to all (`output` is 0 then).
    public var output: Int32

    public init(nodeStart: Int32, nodeCount: Int32, leafStart: Int32, leafCount: Int32, output: Int32) {
      self.nodeStart = nodeStart
      self.nodeCount = nodeCount
      self.leafStart = leafStart
      self.leafCount = leafCount
      self.output = output
    }
  }

  /// In which precision, and so in which order, leaves are added up: trees in their order.
  public enum Summation: UInt8, Sendable { case float = 1, double = 2 }

  /// From the sums to what the model answers; raw values stand in bundles.
  public enum Link: UInt8, Sendable {
    case identity = 0
    /// 1 / (1 + exp(-scale x))
    case sigmoid = 1
    case softmax = 2
    case exponential = 3
    /// Each output by itself, then divided by their sum (LightGBM's multiclassova does not divide).
    case sigmoidEach = 4
    /// sign(x) x^2: LightGBM's reg_sqrt
    case signedSquare = 5
    /// log(1 + exp(x)): LightGBM's cross_entropy_lambda
    case softplus = 6
    /// 1 where x > 0, else 0: XGBoost's binary:hinge
    case step = 7
    /// The index of the largest output, one number: XGBoost's multi:softmax
    case argmax = 8
    /// The quantile of the normal distribution: ONNX's PROBIT
    case probit = 9
    /// ONNX's SOFTMAX_ZERO
    case softmaxZero = 10
  }

  public var featureCount: Int
  /// Sums of each row.
  public var outputCount: Int
  public var nodes: [Node]
  public var categoryBits: [UInt32]
  /// `leafWidth` values for each leaf.
  public var leafValues: [Double]
  public var leafWidth: Int
  public var trees: [Tree]
  /// Added to each output: before the trees when `summation` is float (XGBoost), after them otherwise.
  public var baseScores: [Double]
  public var summation: Summation
  /// Sums are divided by this before the base is added: the number of iterations of a random forest; 1 otherwise.
  public var divisor: Double
  public var link: Link
  public var linkScale: Double
  /// `featureCount` of them, or none.
  public var featureNames: [String]

  public init(
    featureCount: Int, outputCount: Int, nodes: [Node] = [], categoryBits: [UInt32] = [], leafValues: [Double] = [], leafWidth: Int = 1,
    trees: [Tree] = [], baseScores: [Double] = [], summation: Summation = .double, divisor: Double = 1, link: Link = .identity,
    linkScale: Double = 1, featureNames: [String] = []
  ) {
    self.featureCount = featureCount
    self.outputCount = outputCount
    self.nodes = nodes
    self.categoryBits = categoryBits
    self.leafValues = leafValues
    self.leafWidth = leafWidth
    self.trees = trees
    self.baseScores = baseScores.isEmpty ? Array(repeating: 0, count: outputCount) : baseScores
    self.summation = summation
    self.divisor = divisor
    self.link = link
    self.linkScale = linkScale
    self.featureNames = featureNames
  }
}
