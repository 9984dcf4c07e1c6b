public import Families
public import Model

/// A model as it stood in another tool's file, with what a bundle's manifest wants to say about it.
public struct ImportedModel: Sendable, Equatable {
  public enum Body: Sendable, Equatable {
    case trees(TreeEnsemble)
    case linear(LinearBody)
  }

  /// A linear model over dense features (XGBoost's gblinear).
  public struct LinearBody: Sendable, Equatable {
    /// [features, outputs], row-major.
    public var weights: [Float]
    /// What each output starts from, as a margin.
    public var biases: [Float]
    public var link: TreeEnsemble.Link

    public init(weights: [Float], biases: [Float], link: TreeEnsemble.Link) {
      self.weights = weights
      self.biases = biases
      self.link = link
    }
  }

  public var body: Body
  /// Names and shapes of what the tool's own `predict` answers.
  public var outputs: [OutputTensor]
  public var featureCount: Int
  /// `featureCount` of them, or none.
  public var featureNames: [String]
  /// Names of categories that the tool read as codes, for the features that have them, ascending.
  public var categories: [ColumnCategories]
  /// "LightGBM", "XGBoost".
  public var tool: String
  /// The version that the file states: of its format for LightGBM ("v4"), of the library for XGBoost ("3.2.0").
  public var toolVersion: String
  /// What it was trained for, in the tool's words.
  public var objective: String
  /// What whoever imports it should know: trees that were left out, mappings that the file does not have.
  public var notes: [String]

  public init(
    body: Body, outputs: [OutputTensor], featureCount: Int, featureNames: [String] = [], categories: [ColumnCategories] = [], tool: String,
    toolVersion: String, objective: String, notes: [String] = []
  ) {
    self.body = body
    self.outputs = outputs
    self.featureCount = featureCount
    self.featureNames = featureNames
    self.categories = categories
    self.tool = tool
    self.toolVersion = toolVersion
    self.objective = objective
    self.notes = notes
  }

  /// The model that serves it; its `write(into:)` puts it into a bundle.
  public func makeModel() throws(ImportError) -> LoadedModel {
    let inputs = [InputTensor(name: "input", shape: [featureCount], columns: featureNames, absent: .nan, categories: categories)]
    switch body {
    case .trees(let ensemble):
      do {
        return try TreeModel(ensemble: ensemble, inputs: inputs, outputs: outputs)
      } catch {
        throw ImportError(place: error.place, reason: error.reason)
      }
    case .linear(let linear):
      do {
        return try LinearModel(weights: linear.weights, biases: linear.biases, link: linear.link, inputs: inputs, outputs: outputs)
      } catch {
        throw ImportError(place: "weights", reason: error.reason)
      }
    }
  }

  /// The forest; nil for other families.
  public var ensemble: TreeEnsemble? {
    guard case .trees(let ensemble) = body else { return nil }
    return ensemble
  }
}
