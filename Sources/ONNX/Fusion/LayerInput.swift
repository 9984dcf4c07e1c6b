internal import Synchronization

/// What comes into a dense layer, over rows that were scored for calibration: what its numbers in int8 stand for then.
public struct ONNXLayerInput: Sendable, Equatable {
  /// Of the layer, to notice calibrations of another graph.
  public var inputs: Int
  public var outputs: Int
  /// Least and greatest, 0 among them.
  public var low: Float
  public var high: Float

  public init(inputs: Int, outputs: Int, low: Float = 0, high: Float = 0) {
    self.inputs = inputs
    self.outputs = outputs
    self.low = min(low, 0)
    self.high = max(high, 0)
  }

  /// x = scale * (q - zeroPoint), q from 0 to 255.
  var scale: Float {
    let scale = high / 255 - low / 255
    return scale.isNormal ? scale : 1
  }

  var zeroPoint: UInt8 { UInt8(clamping: Int((-low / scale).rounded())) }
}

/// Gathers the inputs of all dense layers while rows are scored.
final class LayerRanges: Sendable {
  private let found = Mutex<[ONNXLayerInput]>([])

  /// In the order of the layers.
  var layers: [ONNXLayerInput] { found.withLock { $0 } }

  func add(_ layer: ONNXLayerInput) -> Int {
    found.withLock {
      $0.append(layer)
      return $0.count - 1
    }
  }

  func note(_ layer: Int, _ values: UnsafePointer<Float>, count: Int) {
    var (low, high) = (Float(0), Float(0))
    for place in 0..<count where values[place].isFinite {
      low = min(low, values[place])
      high = max(high, values[place])
    }
    found.withLock {
      $0[layer].low = min($0[layer].low, low)
      $0[layer].high = max($0[layer].high, high)
    }
  }
}

/// Gives dense layers what calibration found, or what notes it.
enum LayerCalibration {
  static func apply(to graph: Graph, options: ONNXOptions) throws(ONNXError) {
    guard options.ranges != nil || !options.layerInputs.isEmpty else { return }
    var next = 0
    for node in graph.nodes.indices {
      for layer in graph.nodes[node].layers.indices {
        let (inputs, outputs) = (graph.nodes[node].layers[layer].inputs, graph.nodes[node].layers[layer].outputs)
        if let ranges = options.ranges {
          graph.nodes[node].layers[layer].notes = (ranges, ranges.add(ONNXLayerInput(inputs: inputs, outputs: outputs)))
          continue
        }
        guard next < options.layerInputs.count, options.layerInputs[next].inputs == inputs, options.layerInputs[next].outputs == outputs else {
          throw ONNXError(
            place: graph.nodes[node].place, reason: "the calibration of layer \(next) is of another graph, or of another version: quantize the model again")
        }
        graph.nodes[node].layers[layer].input = options.layerInputs[next]
        next += 1
      }
    }
    guard options.ranges != nil || next == options.layerInputs.count else {
      throw ONNXError(place: "graph", reason: "\(next) layers, calibrated were \(options.layerInputs.count): quantize the model again")
    }
  }
}
