public import Families
public import Model

extension LoadedModel {
  /// The rows of `batches` in batches of `size`, the last with what is left.
  public func regrouped(_ batches: [RowBatch], by size: Int) -> [RowBatch] {
    precondition(size > 0, "batches of \(size) rows")
    var groups: [RowBatch] = []
    for batch in batches {
      for row in 0..<batch.rowCount {
        if groups.last.map({ $0.rowCount == size }) ?? true { groups.append(makeBatch(rowCapacity: size)) }
        guard let group = groups.last else { continue }
        if let dense = batch.dense {
          group.reserveDenseRow().copyMemory(from: dense + row * batch.denseRowBytes, byteCount: batch.denseRowBytes)
        }
        for entry in batch.start(ofRow: row)..<Int(batch.rowEnds[row]) {
          if let fields = batch.fields {
            group.append(id: batch.ids[entry], value: batch.values[entry], field: fields[entry])
          } else {
            group.append(id: batch.ids[entry], value: batch.values[entry])
          }
        }
        group.endRow()
      }
    }
    return groups
  }
}
