import Families

/// What LightGBM's `objective=` line says: the name, and how raw scores become answers (`ObjectiveFunction::ConvertOutput`).
struct LightGBMObjective {
  var name: String
  var link: TreeEnsemble.Link
  var linkScale = 1.0
  /// Classes that it states; nil when it states none.
  var classCount: Int?

  /// No objective in the file: trained with a function of the user's, raw scores are the answers.
  static let custom = LightGBMObjective(name: "custom", link: .identity)

  static func read(_ line: TextSlice, place: String) throws(ImportError) -> LightGBMObjective {
    var words: [String] = []
    line.forEachWord { words.append($0.string) }
    guard let first = words.first else { return custom }
    guard let (name, plainLink) = known[first] else {
      throw ImportError(place: place, reason: "objective \"\(first)\" is not one of LightGBM's that can be imported")
    }
    var objective = LightGBMObjective(name: name, link: plainLink)
    for word in words.dropFirst() {
      let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      switch parts[0] {
      case "sqrt":
        if objective.link == .identity { objective.link = .signedSquare }
      case "sigmoid":
        guard parts.count == 2, let scale = Double(parts[1]), scale > 0, scale.isFinite else {
          throw ImportError(place: place, reason: "\"\(word)\" of the objective: a positive number was expected")
        }
        objective.linkScale = scale
      case "num_class":
        guard parts.count == 2, let count = Int(parts[1]), count > 0 else {
          throw ImportError(place: place, reason: "\"\(word)\" of the objective: a number of classes was expected")
        }
        objective.classCount = count
      default: break
      }
    }
    if objective.link != .sigmoid { objective.linkScale = 1 }
    return objective
  }

  /// Every name and alias. Classes of multiclassova are independent of each other, so theirs is the plain sigmoid.
  private static let known: [String: (String, TreeEnsemble.Link)] = {
    var all: [String: (String, TreeEnsemble.Link)] = [:]
    func add(_ link: TreeEnsemble.Link, _ names: String...) { for name in names { all[name] = (names[0], link) } }
    add(.identity, "regression", "regression_l2", "l2", "mean_squared_error", "mse", "l2_root", "root_mean_squared_error", "rmse")
    add(.identity, "regression_l1", "l1", "mean_absolute_error", "mae")
    add(.identity, "huber")
    add(.identity, "fair")
    add(.identity, "quantile")
    add(.identity, "mape", "mean_absolute_percentage_error")
    add(.exponential, "poisson")
    add(.exponential, "gamma")
    add(.exponential, "tweedie")
    add(.sigmoid, "binary")
    add(.softmax, "multiclass", "softmax")
    add(.sigmoid, "multiclassova", "multiclass_ova", "ova", "ovr")
    add(.sigmoid, "cross_entropy", "xentropy")
    add(.softplus, "cross_entropy_lambda", "xentlambda")
    add(.identity, "lambdarank")
    add(.identity, "rank_xendcg", "xendcg", "xe_ndcg", "xe_ndcg_mart", "xendcg_mart")
    add(.identity, "custom", "none", "null", "na")
    return all
  }()
}
