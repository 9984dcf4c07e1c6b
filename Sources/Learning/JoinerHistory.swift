/// What accepted batches decided since the point from which a joiner rebuilds: what must not be decided again.
struct JoinerHistory {
  struct DecidedFeature {
    var labelTime: Int64
    var expired: Bool
  }

  private(set) var features: [Int64: DecidedFeature] = [:]
  private(set) var labels: Set<Int64> = []

  mutating func add(featureOffset: Int64, labelOffset: Int64, labelTime: Int64, expired: Bool) {
    if featureOffset >= 0 { features[featureOffset] = DecidedFeature(labelTime: labelTime, expired: expired) }
    if labelOffset >= 0 { labels.insert(labelOffset) }
  }
}
