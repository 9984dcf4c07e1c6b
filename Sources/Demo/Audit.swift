/// Checks that no prediction saw a label of its future: the latest label in the model that answered must have landed before the question's
/// tick began.
public struct Audit: Sendable {
  public struct Violation: Sendable, Equatable {
    public let question: Int
    public let arm: String
    /// The limit: the start of the question's tick.
    public let tickMilliseconds: Int64
    public let labelsThroughMilliseconds: Int64
  }

  public static let shownMax = 5
  public private(set) var checked = 0
  public private(set) var violations = 0
  /// The first few.
  public private(set) var shown: [Violation] = []

  public init() {}

  /// `labelsThroughMilliseconds`: the greatest landing time of the labels behind the prediction; `Int64.min` for none.
  public mutating func check(question: Int, arm: String, tickMilliseconds: Int64, labelsThroughMilliseconds: Int64) {
    checked += 1
    guard labelsThroughMilliseconds > tickMilliseconds else { return }
    violations += 1
    guard shown.count < Self.shownMax else { return }
    shown.append(Violation(
      question: question, arm: arm, tickMilliseconds: tickMilliseconds, labelsThroughMilliseconds: labelsThroughMilliseconds))
  }
}
