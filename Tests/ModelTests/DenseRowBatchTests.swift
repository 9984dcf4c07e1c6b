import Model
import Testing

@Suite("Dense rows of a batch")
struct DenseRowBatchTests {
  @Test("dense rows stay aligned and keep what was written while the batch grows")
  func growth() throws {
    let batch = RowBatch(rowCapacity: 1, entryCapacity: 1, denseRowBytes: 12, hasFields: true)
    for row in 0..<100 {
      let dense = batch.reserveDenseRow()
      for i in 0..<3 { dense.storeBytes(of: Float(row * 3 + i), toByteOffset: i * 4, as: Float.self) }
      batch.append(id: UInt64(row), value: 1, field: UInt16(row))
      batch.append(id: 7, value: 2)
      batch.endRow()
    }
    let dense = try #require(batch.dense)
    let fields = try #require(batch.fields)
    #expect(Int(bitPattern: dense) % 64 == 0)
    #expect(batch.rowCount == 100 && batch.entryCount == 200)
    for row in 0..<100 {
      for i in 0..<3 { #expect(dense.load(fromByteOffset: row * 12 + i * 4, as: Float.self) == Float(row * 3 + i)) }
      #expect(fields[row * 2] == UInt16(row))
      #expect(fields[row * 2 + 1] == RowBatch.biasField)
    }
  }

  @Test("a batch has no dense part and no fields unless asked for")
  func without() {
    let batch = RowBatch(rowCapacity: 4, entryCapacity: 4)
    #expect(batch.dense == nil && batch.fields == nil && batch.denseRowBytes == 0)
  }

  @Test("the hash of a text in a dense row never changes")
  func text() {
    var text = "red"
    #expect(text.withUTF8 { RowID.text(UnsafeRawBufferPointer($0)) } == RowID.text("red"))
    #expect(RowID.text("red") != RowID.text("blue"))
    #expect(RowID.text("") == 8_513_512_627_439_915_292)
  }
}
