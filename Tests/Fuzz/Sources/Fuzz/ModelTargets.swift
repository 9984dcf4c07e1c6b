import Model
import Settings
import UpdateLog

private let specification = ModelSpecification(
  name: "fuzz", version: 1, family: .linear(loss: .logistic), features: [.categorical("carrier")], crosses: [])

/// A record is parsed as it is, and once more with its checksum put right, since no mutation would find that by itself.
func updateRecords() -> (UnsafeRawBufferPointer) -> Void {
  let replica = ShardReplica(specification: specification, shard: 0)
  var offset: Int64 = 0
  return { input in
    func use(_ bytes: UnsafeRawBufferPointer) {
      if let view = try? UpdateRecordView.parse(bytes) {
        var previous: UInt64?
        for row in 0..<view.ids.count {
          check(previous.map { $0 < view.ids[row] } ?? true, "ids that do not ascend")
          previous = view.ids[row]
        }
      }
      _ = replica.apply(bytes, offset: offset)
      offset += 1
    }
    use(input)
    guard input.count >= 4, input.count < 1 << 20 else { return }
    var fixed = Array(input)
    let checksum = fixed.withUnsafeBytes { UpdateRecordView.checksum(UnsafeRawBufferPointer(rebasing: $0[..<(input.count - 4)])) }
    for i in 0..<4 { fixed[input.count - 4 + i] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt32(i))) }
    fixed.withUnsafeBytes(use)
  }
}

func specifications() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    if let read = try? ModelSpecification(canonicalBytes: Array(input)) {
      check(read.problems().isEmpty, "canonical bytes of an invalid specification were taken")
      check(read.canonicalBytes == Array(input), "canonical bytes are not canonical")
    }
  }
}

func settings() -> (UnsafeRawBufferPointer) -> Void {
  return { input in
    let text = String(decoding: input, as: UTF8.self)
    do throws(SettingsErrors) {
      let specification = try ModelSpecification.parse(yaml: text, file: "fuzz.yaml")
      check(specification.problems().isEmpty, "an invalid specification was taken")
    } catch {
      check(!error.problems.isEmpty, "refused without a problem")
    }
  }
}
