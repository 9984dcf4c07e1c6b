internal import Foundation
public import Model

/// From a model's margins to what it answers. Raw values are those of `TreeEnsemble.Link`.
public enum OutputLink: UInt8, Sendable, CaseIterable {
  case identity = 0
  /// 1 / (1 + exp(-x))
  case sigmoid = 1
  /// Over the outputs of a row.
  case softmax = 2
  /// exp(x), x held within ±30 as in Poisson's loss.
  case exponential = 3

  /// As manifests and specifications write it.
  public var name: String {
    switch self {
    case .identity: "identity"
    case .sigmoid: "sigmoid"
    case .softmax: "softmax"
    case .exponential: "exp"
    }
  }

  public init?(name: String) {
    guard let link = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = link
  }

  /// The link of a loss.
  public init(_ loss: Loss) {
    self = switch loss {
    case .logistic: .sigmoid
    case .squared: .identity
    case .poisson: .exponential
    }
  }

  /// In place, on `rows` rows of `outputs` margins. Allocates nothing.
  func apply(_ margins: UnsafeMutablePointer<Float>, rows: Int, outputs: Int) {
    switch self {
    case .identity: break
    case .sigmoid:
      for index in 0..<rows * outputs { margins[index] = Loss.logistic.score(sum: margins[index]) }
    case .exponential:
      for index in 0..<rows * outputs { margins[index] = Loss.poisson.score(sum: margins[index]) }
    case .softmax:
      for row in 0..<rows { Self.softmax(margins + row * outputs, outputs) }
    }
  }

  private static func softmax(_ margins: UnsafeMutablePointer<Float>, _ count: Int) {
    var greatest = -Float.infinity
    for index in 0..<count where margins[index] > greatest { greatest = margins[index] }
    var sum: Float = 0
    for index in 0..<count {
      margins[index] = exp(margins[index] - greatest)
      sum += margins[index]
    }
    for index in 0..<count { margins[index] /= sum }
  }
}
