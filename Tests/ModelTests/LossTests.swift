import Model
import Testing

@Suite struct LossTests {
  private static let sums: [Double] = [-25, -8, -2.5, -1, -1e-3, 0, 1e-3, 0.7, 1, 3, 9, 25]

  private func labels(_ loss: Loss) -> [Double] {
    switch loss {
    case .logistic: [0, 0.25, 1]
    case .squared: [-4, 0, 2.5]
    case .poisson: [0, 1, 7]
    }
  }

  @Test(arguments: Loss.allCases) func theGradientIsTheDerivativeOfTheLoss(loss: Loss) {
    for sum in Self.sums {
      for label in labels(loss) {
        let step = 1e-5
        let numeric = (loss.loss(sum: sum + step, label: label) - loss.loss(sum: sum - step, label: label)) / (2 * step)
        let exact = loss.gradient(sum: sum, label: label)
        #expect(abs(numeric - exact) <= 1e-5 * max(1, abs(exact)), "\(loss) at \(sum), label \(label): \(numeric) and \(exact)")
      }
    }
  }

  @Test(arguments: Loss.allCases) func theLossIsLeastWhereTheScoreIsTheLabel(loss: Loss) {
    for sum in Self.sums where abs(sum) < 10 {
      let label = loss.score(sum: sum)
      let least = loss.loss(sum: sum, label: label)
      #expect(abs(loss.gradient(sum: sum, label: label)) < 1e-12)
      #expect(loss.loss(sum: sum + 0.5, label: label) > least)
      #expect(loss.loss(sum: sum - 0.5, label: label) > least)
    }
  }

  @Test func linksAtKnownPoints() {
    #expect(Loss.logistic.score(sum: 0.0 as Double) == 0.5)
    #expect(abs(Loss.logistic.score(sum: 2.0 as Double) - 0.8807970779778823) < 1e-15)
    #expect(Loss.squared.score(sum: -3.5 as Double) == -3.5)
    #expect(abs(Loss.poisson.score(sum: 1.0 as Double) - 2.718281828459045) < 1e-15)
    #expect(abs(Loss.logistic.loss(sum: 0, label: 1) - 0.6931471805599453) < 1e-15)
  }

  @Test(arguments: Loss.allCases) func extremeSumsStayFinite(loss: Loss) {
    for sum in [-1e30, -1e4, -745.2, 745.2, 1e4, 1e30] {
      #expect(loss.score(sum: sum).isFinite)
      #expect(loss.loss(sum: sum, label: 1).isFinite)
      #expect(loss.gradient(sum: sum, label: 1).isFinite)
    }
    #expect(loss.score(sum: Float(0)).isFinite)
  }

  @Test func logisticKeepsItsSymmetryAndPrecision() {
    for sum in Self.sums {
      #expect(abs(Loss.logistic.score(sum: sum) + Loss.logistic.score(sum: -sum) - 1) < 1e-15)
    }
    #expect(Loss.logistic.score(sum: -700.0 as Double) > 0)
    #expect(Loss.logistic.loss(sum: 800, label: 0) == 800)
  }
}
