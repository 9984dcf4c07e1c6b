/// Operators that move elements and compute nothing.
enum MovementOperators {
  static let all: [ONNXOperator] = [concat, split, slice, transpose, expand, tile, pad, gather, gatherElements, gatherND, oneHot]
}
