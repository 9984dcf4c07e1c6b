extension PredictionView {
  /// Writes the prediction as the JSON form has it, whatever form it came in.
  public func writeJSON(into output: OutputBuffer) {
    output.append(byte: UInt8(ascii: "{"))
    if id.count > 0 {
      output.append("\"id\":")
      output.appendJSON(id)
      output.append(byte: UInt8(ascii: ","))
    }
    output.append("\"model\":")
    output.appendJSON(model)
    output.append(",\"version\":")
    output.appendDecimal(version)
    output.append(",\"arm\":")
    output.appendJSON(arm)
    output.append(",\"from\":")
    output.appendDecimal(from)
    output.append(",\"to\":")
    output.appendDecimal(to)
    switch kind {
    case .scores: writeScores(into: output)
    case .error:
      output.append(",\"error\":{\"reason\":")
      output.appendJSON(errorReason)
      output.append(",\"field\":")
      output.appendJSON(errorField)
      output.append(",\"message\":")
      output.appendJSON(errorMessage)
      output.append(byte: UInt8(ascii: "}"))
    case .gap:
      output.append(",\"gap\":")
      output.appendJSON(gapReason)
    }
    output.append(byte: UInt8(ascii: "}"))
  }

  private func writeScores(into output: OutputBuffer) {
    output.append(",\"score\":")
    if scores.count != 1 { output.append(byte: UInt8(ascii: "[")) }
    for (i, score) in scores.enumerated() {
      if i > 0 { output.append(byte: UInt8(ascii: ",")) }
      output.appendDecimal(score)
    }
    if scores.count != 1 { output.append(byte: UInt8(ascii: "]")) }
    output.append(",\"position\":[")
    for (i, offset) in position.enumerated() {
      if i > 0 { output.append(byte: UInt8(ascii: ",")) }
      output.appendDecimal(offset)
    }
    output.append(byte: UInt8(ascii: "]"))
    if labelsThroughMilliseconds != .min {
      output.append(",\"labels_through\":")
      output.appendDecimal(labelsThroughMilliseconds)
    }
  }
}
