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
    if !outputs.isEmpty { writeOutputs(into: output) }
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

  /// As the model's answers have them: a value for one element of one row, a list for several, a list of these for several rows.
  private func writeOutputs(into output: OutputBuffer) {
    output.append(",\"outputs\":{")
    for (index, each) in outputs.enumerated() {
      if index > 0 { output.append(byte: UInt8(ascii: ",")) }
      output.appendJSON(each.name)
      output.append(byte: UInt8(ascii: ":"))
      let isWhole = each.count % rows == 0
      let width = isWhole ? each.count / rows : each.count
      if rows > 1, isWhole { output.append(byte: UInt8(ascii: "[")) }
      for row in 0..<(isWhole ? rows : 1) {
        if row > 0 { output.append(byte: UInt8(ascii: ",")) }
        if width != 1 { output.append(byte: UInt8(ascii: "[")) }
        for element in row * width..<(row + 1) * width {
          if element > row * width { output.append(byte: UInt8(ascii: ",")) }
          if each.isText { output.appendJSON(each.text(element)) } else { output.appendDecimal(each.values[element]) }
        }
        if width != 1 { output.append(byte: UInt8(ascii: "]")) }
      }
      if rows > 1, isWhole { output.append(byte: UInt8(ascii: "]")) }
    }
    output.append(byte: UInt8(ascii: "}"))
  }
}
