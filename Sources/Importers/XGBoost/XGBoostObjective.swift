import Families
import Glibc

/// What XGBoost's objectives do to margins (`PredTransform`), and to `base_score`, which stands in the file as an answer and not as a margin
/// (`ProbToMargin`). All in float, as there.
struct XGBoostObjective {
  var name: String
  var link: TreeEnsemble.Link
  private var intercept: Intercept

  private enum Intercept { case asItIs, logit, logarithm }

  /// The objectives of 1.0 to 3.2.
  init(named name: String, place: String) throws(ImportError) {
    self.name = name
    switch name {
    case "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror",
      "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw":
      (link, intercept) = (.identity, .asItIs)
    case "reg:logistic", "binary:logistic": (link, intercept) = (.sigmoid, .logit)
    case "binary:hinge": (link, intercept) = (.step, .asItIs)
    case "multi:softprob": (link, intercept) = (.softmax, .asItIs)
    case "multi:softmax": (link, intercept) = (.argmax, .asItIs)
    case "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft": (link, intercept) = (.exponential, .logarithm)
    default:
      throw ImportError(
        place: place, reason: "objective \"\(name)\" is not known: its margins cannot be turned into answers")
    }
  }

  /// The margin that a `base_score` means; nil when it means none.
  func margin(_ base: Float) -> Float? {
    let margin: Float
    switch intercept {
    case .asItIs: margin = base
    case .logit:
      guard base >= 0, base <= 1 else { return nil }
      // XGBoost keeps it away from the ends by this much.
      let inside = min(max(base, 1e-6), 1 - 1e-6)
      margin = -logf(1 / inside - 1)
    case .logarithm:
      guard base > 0 else { return nil }
      margin = logf(base)
    }
    return margin.isFinite ? margin : nil
  }
}
