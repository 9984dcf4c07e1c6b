internal import Events
internal import Foundation

/// A made-up year for where the flights are not at hand: a known logistic model whose weights drift and whose labels come late, so that
/// the log loss of who knows the weights can stand beside the models'.
public enum GeneratedStream {
  public static let yaml = """
    # The model of the generated stream: sites and products whose chances drift.
    model: generated
    version: 1
    family: linear
    loss: logistic
    shards: 2
    features:
      site: categorical
      product: categorical
      hour: categorical
      pair: categorical
      load: numeric
    learning: {optimizer: ftrl, alpha: 0.1, beta: 1, l1: 0, l2: 0}
    join: {window: 30d, on_expiry: drop}

    """

  private static let sites = 12
  private static let products = 40

  struct Row {
    var site: UInt8
    var product: UInt8
    var hour: UInt8
    var load: Float
  }

  /// `count` questions spread over the 365 days from 2013-01-01; the window starts on day 90. The same seed gives the same stream.
  public static func make(count: Int = 200_000, seed: UInt64 = 2013) -> ReplayStream {
    precondition(count > 0)
    var random = SplitMix(state: seed)
    let start = CalendarTime.days(year: 2013, month: 1, day: 1) * CalendarTime.secondsPerDay * 1000
    let dayMilliseconds = CalendarTime.secondsPerDay * 1000
    let year = 365 * dayMilliseconds
    var siteWeights = (0..<sites).map { _ in random.normal() * 0.5 }
    var productWeights = (0..<products).map { _ in random.normal() * 0.7 }
    var pairWeights = (0..<sites * products).map { _ in random.normal() * 0.3 }
    let hourWeights = (0..<24).map { 0.6 * sin(Double($0) / 24 * 2 * .pi) }
    var loadWeight = 0.8
    var day: Int64 = 0

    var asks: [Int64] = []
    var lands: [Int64] = []
    var labels: [Float] = []
    var rows: [Row] = []
    var bestSum = 0.0
    var bestCount = 0
    let windowStart = start + 90 * dayMilliseconds
    for index in 0..<count {
      // Even steps with jitter keep the times in order.
      let at = start + Int64((Double(index) + random.uniform()) / Double(count) * Double(year))
      let today = (at - start) / dayMilliseconds
      while day < today {
        // The drift: a random walk that is pulled back a little, so that the year stays stationary in size.
        for site in siteWeights.indices { siteWeights[site] = siteWeights[site] * 0.99 + random.normal() * 0.12 }
        for product in productWeights.indices { productWeights[product] = productWeights[product] * 0.995 + random.normal() * 0.08 }
        for pair in pairWeights.indices { pairWeights[pair] = pairWeights[pair] * 0.99 + random.normal() * 0.04 }
        loadWeight = loadWeight * 0.99 + random.normal() * 0.05
        day += 1
      }
      let row = Row(
        site: UInt8(random.below(sites)), product: UInt8(random.below(products)), hour: UInt8((at - start) / 3_600_000 % 24),
        load: Float(random.normal()))
      let sum = -1.2 + siteWeights[Int(row.site)] + productWeights[Int(row.product)]
        + pairWeights[Int(row.site) * products + Int(row.product)] + hourWeights[Int(row.hour)] + loadWeight * Double(row.load)
      let chance = 1 / (1 + exp(-sum))
      let label = random.uniform() < chance
      // Half an hour to about a day.
      lands.append(at + 1_800_000 + Int64(-log(1 - random.uniform()) * 7_200_000))
      asks.append(at)
      labels.append(label ? 1 : 0)
      rows.append(row)
      if at >= windowStart {
        bestSum -= label ? log(chance) : log(1 - chance)
        bestCount += 1
      }
    }
    let made = rows
    return ReplayStream(
      name: "generated", source: "\(count) generated questions over a year, weights that drift (seed \(seed))", asks: asks, lands: lands,
      labels: labels, times: asks, window: windowStart..<start + year + 1, frozenAtMilliseconds: windowStart,
      bestLogLoss: bestCount > 0 ? bestSum / Double(bestCount) : nil,
      write: { index, writer in
        let row = made[index]
        writer.text("site", "s\(row.site)")
        writer.text("product", "p\(row.product)")
        writer.integer("hour", Int64(row.hour))
        writer.text("pair", "s\(row.site)p\(row.product)")
        writer.number("load", Double(row.load))
      })
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the seed alone decides.
struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// In 0 ..< 1.
  mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  /// Box and Muller.
  mutating func normal() -> Double { sqrt(-2 * log(1 - uniform())) * cos(2 * .pi * uniform()) }
}
