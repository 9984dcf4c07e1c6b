import Families
import Model
import Testing

@testable import ONNX

/// Random graphs: fused and unfused, many rows at once and each alone, planned and planned again give the same numbers.
@Suite struct RandomGraphTests {
  /// Some twenty nodes over values of [rows, width], used once or several times, so that fusion and the plan meet what they must leave alone.
  private func graph(_ numbers: inout Numbers) -> ModelMaker {
    var maker = ModelMaker(version: 13)
    maker.input("x", width: 5)
    var values: [(name: String, width: Int)] = [("x", 5)]
    for index in 0..<(6 + numbers.below(16)) {
      // Mostly the newest value: chains; now and then an older one: forks.
      let (value, width) = numbers.below(4) == 0 ? values[numbers.below(values.count)] : values[values.count - 1]
      let name = "v\(index)"
      var newWidth = width
      switch numbers.below(12) {
      case 0:
        newWidth = 1 + numbers.below(9)
        maker.floats("w\(index)", [newWidth, width], numbers.floats(newWidth * width))
        maker.floats("b\(index)", [newWidth], numbers.floats(newWidth))
        maker.node("Gemm", [value, "w\(index)", "b\(index)"], [name], ["transB": .int(1), "alpha": .float(0.5)])
      case 1, 2:
        newWidth = 1 + numbers.below(9)
        maker.floats("w\(index)", [width, newWidth], numbers.floats(newWidth * width))
        maker.node("MatMul", [value, "w\(index)"], [name])
      case 3, 4:
        let constant = numbers.below(2) == 0 ? [1] : [width]
        maker.floats("c\(index)", constant, numbers.floats(constant[0]).map { $0 + 2 })
        let operation = ["Add", "Sub", "Mul", "Div"][numbers.below(4)]
        maker.node(operation, numbers.below(2) == 0 && operation != "Div" ? ["c\(index)", value] : [value, "c\(index)"], [name])
      case 5: maker.node(["Relu", "Sigmoid", "Tanh", "Softplus"][numbers.below(4)], [value], [name])
      case 6: maker.node("Softmax", [value], [name], ["axis": .int(-1)])
      case 7:
        maker.node("Sigmoid", [value], ["s\(index)"])
        maker.node("Mul", [value, "s\(index)"], [name])
      case 8:
        maker.ints("shape\(index)", [-1, 1, Int64(width)])
        maker.node("Reshape", [value, "shape\(index)"], ["r\(index)"])
        maker.node("Abs", ["r\(index)"], ["a\(index)"])
        maker.node("Flatten", ["a\(index)"], [name])
      case 9:
        maker.node("Identity", [value], ["i\(index)"])
        maker.node("Dropout", ["i\(index)"], [name])
      case 10:
        for (part, offset) in [("g", 1), ("h", 0), ("m", 0), ("n", 2)] as [(String, Float)] {
          maker.floats("\(part)\(index)", [width], numbers.floats(width).map { $0 + offset })
        }
        maker.node("BatchNormalization", [value, "g\(index)", "h\(index)", "m\(index)", "n\(index)"], [name])
      default:
        // A sum of two values of one width.
        let same = values.filter { $0.width == width }
        maker.node("Add", [value, same[numbers.below(same.count)].name], [name])
      }
      values.append((name, newWidth))
    }
    // Values that others use as well may be outputs too.
    maker.output(values[values.count - 1].name)
    if numbers.below(2) == 0 { maker.output(values[1 + numbers.below(values.count - 1)].name) }
    return maker
  }

  @Test func allWaysGiveTheSameNumbers() throws {
    let seed = UInt64.random(in: 1...UInt64.max)
    print("seed of random graphs: \(seed)")
    var numbers = Numbers(seed: seed)
    for round in 0..<60 {
      let onnx = try graph(&numbers).read()
      let fused = try ONNXGraphModel(model: onnx)
      let plain = try ONNXGraphModel(model: onnx, options: ONNXOptions(isFusing: false))
      #expect(!fused.isRowByRow && fused.stepNames.count <= plain.stepNames.count)
      let rows = (0..<11).map { _ in numbers.floats(5) }
      let scorer = fused.makeScorer(rowsMax: 3)
      for output in fused.outputs.indices {
        let width = fused.outputs[output].count
        let expected = ServedGraphTests.score(plain.makeScorer(rowsMax: 11), ServedGraphTests.batch(plain, rows), output)
        let together = ServedGraphTests.score(scorer, ServedGraphTests.batch(fused, rows), output)
        let alone = rows.flatMap { ServedGraphTests.score(scorer, ServedGraphTests.batch(fused, [$0]), output) }
        #expect(together.count == 11 * width)
        // Relative to the largest number of the row: quotients may have made it large.
        for (place, value) in expected.enumerated() {
          let scale = max(1, expected[(place / width * width)..<(place / width * width + width)].map(abs).max() ?? 1)
          #expect(abs(value - together[place]) <= 1e-3 * scale || value.isNaN, "seed \(seed), graph \(round), fused \(together[place]), not \(value)")
          #expect(abs(together[place] - alone[place]) <= 1e-4 * scale || value.isNaN, "seed \(seed), graph \(round), alone \(alone[place]), not \(together[place])")
        }
      }
    }
  }
}
