/// Arithmetic of shapes whose entries may depend on the rows.
enum ShapeArithmetic {
  /// Nil: not known, or not one of ours.
  static func binary(_ node: NodeContext, _ function: BinaryFunction) -> [Dimension]? {
    guard let a = node.dimensions(0), let b = node.dimensions(1) else { return nil }
    guard a.count == b.count || a.count == 1 || b.count == 1 else { return nil }
    // A constant on both sides is folded instead.
    guard node.constant(0) == nil || node.constant(1) == nil else { return nil }
    var result: [Dimension] = []
    for index in 0..<max(a.count, b.count) {
      let x = a[a.count == 1 ? 0 : index]
      let y = b[b.count == 1 ? 0 : index]
      let value: Dimension?
      switch function {
      case .add: value = x.plus(y)
      case .multiply: value = x.times(y)
      case .divide: value = x.divided(by: y)
      default: value = nil
      }
      guard let value else { return nil }
      result.append(value)
    }
    return result
  }
}
