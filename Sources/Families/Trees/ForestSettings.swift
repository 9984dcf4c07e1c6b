internal import Bundles

/// What a forest is besides its nodes: in bundles, the manifest's parameters.
struct ForestSettings: Equatable {
  static let featuresMax = 1 << 24
  static let outputsMax = 1 << 16

  var featureCount: Int
  var outputCount: Int
  var leafWidth: Int
  var summation: TreeEnsemble.Summation
  var link: TreeEnsemble.Link
  var linkScale: Double
  var divisor: Double
  var baseScores: [Double]

  init(_ ensemble: TreeEnsemble) {
    featureCount = ensemble.featureCount
    outputCount = ensemble.outputCount
    leafWidth = ensemble.leafWidth
    summation = ensemble.summation
    link = ensemble.link
    linkScale = ensemble.linkScale
    divisor = ensemble.divisor
    baseScores = ensemble.baseScores
  }

  init(_ parameters: JSONValue) throws(BundleError) {
    let place = "manifest.parameters"
    featureCount = try parameters.int("features", in: 0...Self.featuresMax, at: place)
    outputCount = try parameters.int("outputs", in: 1...Self.outputsMax, at: place)
    leafWidth = try parameters.int("leaf_width", in: 1...Self.outputsMax, at: place)
    guard let summation = TreeEnsemble.Summation(rawValue: UInt8(try parameters.int("summation", in: 0...255, at: place))) else {
      throw BundleError(place: "\(place).summation", reason: "unknown")
    }
    guard let link = TreeEnsemble.Link(rawValue: UInt8(try parameters.int("link", in: 0...255, at: place))) else {
      throw BundleError(place: "\(place).link", reason: "unknown")
    }
    self.summation = summation
    self.link = link
    linkScale = try parameters.double("link_scale", at: place)
    divisor = try parameters.double("divisor", at: place)
    baseScores = try parameters.doubles("base", at: place)
    guard divisor != 0, !divisor.isNaN else { throw BundleError(place: "\(place).divisor", reason: "\(divisor) divides nothing") }
    guard baseScores.count == outputCount else {
      throw BundleError(place: "\(place).base", reason: "\(baseScores.count) numbers for \(outputCount) outputs")
    }
  }

  var json: JSONValue {
    [
      "features": JSONValue(featureCount), "outputs": JSONValue(outputCount), "leaf_width": JSONValue(leafWidth),
      "summation": JSONValue(Int(summation.rawValue)), "link": JSONValue(Int(link.rawValue)), "link_scale": JSONValue(linkScale),
      "divisor": JSONValue(divisor), "base": JSONValue(baseScores),
    ]
  }
}
