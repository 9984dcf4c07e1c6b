public import Events

/// A recorded or made-up stream of questions and the labels that answer them later: what a replay sends.
///
/// Question i is asked at `asks[i]` (ascending) and its label lands at `lands[i]`, after it. All times are event times in milliseconds since 1970.
public struct ReplayStream: Sendable {
  public let name: String
  /// One line on where it comes from.
  public let source: String
  public let asks: [Int64]
  public let lands: [Int64]
  public let labels: [Float]
  /// By this time the window picks the questions that are scored.
  public let times: [Int64]
  /// Questions with `times` in here are scored.
  public let window: Range<Int64>
  /// The last day of the window, as reports name it.
  public let windowTo: String
  /// When the frozen model stops learning.
  public let frozenAtMilliseconds: Int64
  /// The log loss of who knows the truth, over the window; nil for real data, where nobody does.
  public let bestLogLoss: Double?
  /// Writes the features of question `index` between `begin` and `finish`.
  public let write: @Sendable (_ index: Int, _ writer: EventWriter) -> Void
  /// Questions by the time their labels land.
  public let landingOrder: [Int32]

  public init(
    name: String, source: String, asks: [Int64], lands: [Int64], labels: [Float], times: [Int64], window: Range<Int64>,
    windowTo: String? = nil, frozenAtMilliseconds: Int64, bestLogLoss: Double? = nil, write: @escaping @Sendable (Int, EventWriter) -> Void
  ) {
    precondition(asks.count == lands.count && asks.count == labels.count && asks.count == times.count, "columns of one length")
    precondition(zip(asks, asks.dropFirst()).allSatisfy { $0 <= $1 }, "questions in the order in which they are asked")
    precondition(zip(asks, lands).allSatisfy { $0 < $1 }, "a label lands after its question")
    self.name = name
    self.source = source
    self.asks = asks
    self.lands = lands
    self.labels = labels
    self.times = times
    self.window = window
    self.windowTo = windowTo ?? CalendarTime.date(milliseconds: min(window.upperBound - 1, times.last ?? .max))
    self.frozenAtMilliseconds = frozenAtMilliseconds
    self.bestLogLoss = bestLogLoss
    self.write = write
    landingOrder = asks.indices.map(Int32.init).sorted { (lands[Int($0)], $0) < (lands[Int($1)], $1) }
  }

  public var count: Int { asks.count }
}
