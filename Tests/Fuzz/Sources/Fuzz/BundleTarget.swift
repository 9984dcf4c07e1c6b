import Bundles
import CKernels
import Families
import Model
import ModelStore

/// A bundle's bytes: opened, checked, loaded by its family and scored with. Once as they are, and once with the checksums of header,
/// manifest and directory made to hold, so that what stands behind them is reached.
func bundle() -> (UnsafeRawBufferPointer) -> Void {
  { input in
    guard input.count < 1 << 16 else { return }
    open(input)
    var sealed = Array(input)
    seal(&sealed)
    sealed.withUnsafeBytes { open($0) }
  }
}

private func open(_ bytes: UnsafeRawBufferPointer) {
  do {
    let bundle = try ModelBundle.read(bytes)
    let copy = BundleWriter(manifest: bundle.manifest)
    for section in bundle.sections {
      check(try bundle.bytes(section.name).count == section.byteCount, "a section without its bytes")
      try copy.add(section: section.name, of: bundle)
    }
    let again = try copy.encoded().withUnsafeBytes { try ModelBundle.read($0, verifying: .everything) }
    // Numbers that are none are not equal to themselves.
    check(again.manifest.json.encoded() == bundle.manifest.json.encoded(), "another manifest after it was written again")
    let model = try ModelStore.load(bundle)
    guard model.denseRowBytes < 1 << 20, model.outputs.allSatisfy({ $0.count < 1 << 16 }) else { return }
    let batch = model.makeBatch(rowCapacity: 2)
    for value in [0, 0x7F] as [UInt8] {
      if model.denseRowBytes > 0 { batch.reserveDenseRow().initializeMemory(as: UInt8.self, repeating: value, count: model.denseRowBytes) }
      if model.specification != nil { batch.append(id: UInt64(value) &* 0x9E37_79B9_7F4A_7C15, value: 1, field: 0) }
      batch.endRow()
    }
    model.makeScorer(rowsMax: 2).score(batch)
    if let serving = try? model.servingSpecification(name: "fuzz", version: 1) { ask(serving) }
  } catch {
    check(!"\(error)".isEmpty, "a refusal without words")
  }
}

/// Every name of a category has its code, in the place of its column.
private func ask(_ serving: ModelSpecification) {
  let bytes = serving.canonicalBytes
  check((try? ModelSpecification(canonicalBytes: bytes))?.canonicalBytes == bytes, "another specification after it was read back")
  let assembler = FeatureAssembler(specification: serving)
  let batch = RowBatch(rowCapacity: 1, entryCapacity: 1, denseRowBytes: serving.denseRowBytes, hasFields: false)
  for (index, feature) in serving.features.enumerated() {
    guard let place = feature.tensor, place.count <= 256 else { continue }
    for column in place.categories {
      for (code, name) in column.names.names.enumerated() {
        assembler.begin()
        for element in 0..<place.count {
          guard element == column.column, case .text(let text) = name else {
            assembler.null(index)
            continue
          }
          check(column.names.code(text) == code, "a name with another code")
          _ = Array(text.utf8).withUnsafeBytes { assembler.categorical(index, $0) }
        }
        batch.removeAll()
        guard case .text = name, assembler.finish(into: batch), let dense = batch.dense else { continue }
        let at = dense + place.offset + column.column * place.element.bytes
        let found = place.element == .float32 ? Double(at.load(as: Float.self)) : at.load(as: Double.self)
        check(found == Double(code), "a row with another code")
      }
    }
  }
}

/// Makes the checksums hold, as far as the parts lie within the file.
private func seal(_ bytes: inout [UInt8]) {
  guard bytes.count >= 64 else { return }
  bytes.withUnsafeMutableBytes { bytes in
    guard let base = bytes.baseAddress else { return }
    func word64(_ at: Int) -> UInt64 { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) }
    func word32(_ at: Int) -> UInt32 { UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    func put(_ checksum: UInt32, _ at: Int) { bytes.storeBytes(of: checksum.littleEndian, toByteOffset: at, as: UInt32.self) }
    bytes.storeBytes(of: UInt64(bytes.count).littleEndian, toByteOffset: 16, as: UInt64.self)
    let manifest = word64(32)
    let directory = word64(40)
    let sections = UInt64(word32(48))
    if manifest <= UInt64(bytes.count - 64) { put(mr_crc32c(0, base + 64, Int(manifest)), 52) }
    if sections > 0, sections <= 1_000, directory <= UInt64(bytes.count), directory + sections * 96 <= UInt64(bytes.count) {
      let names = Int(directory + sections * 96)
      let end = names + Int(word32(names - 96 + 20)) + Int(word32(names - 96 + 24) & 0xFFFF)
      if end <= bytes.count { put(mr_crc32c(0, base + Int(directory), end - Int(directory)), 56) }
    }
    put(mr_crc32c(0, base, 60), 60)
  }
}

extension Seeds {
  /// One bundle of each family.
  static func bundles() throws -> [[UInt8]] {
    func encoded(_ write: (BundleWriter) -> Void) throws -> [UInt8] {
      let writer = BundleWriter(manifest: BundleManifest(name: "fuzz", family: "none", outputs: []))
      write(writer)
      return try writer.encoded()
    }
    let linear = try LinearModel(weights: [0.5, -1, 0.25], biases: [0.125], link: .sigmoid, featureNames: ["a", "b", "c"])
    let ensemble = TreeEnsemble(
      featureCount: 2, outputCount: 1,
      nodes: [
        .init(feature: 0, comparison: .lessOrEqual, missing: .notANumber, defaultLeft: true, threshold: 0.5, left: -1, right: 1),
        .init(feature: 1, comparison: .member, missing: .nothing, defaultLeft: false, threshold: 0, categoryStart: 0, categoryWords: 1, left: -2, right: -3),
      ],
      categoryBits: [5], leafValues: [0.1, -0.2, 0.3], trees: [.init(nodeStart: 0, nodeCount: 2, leafStart: 0, leafCount: 3, output: 0)], link: .sigmoid)
    let trees = try TreeModel(ensemble: ensemble)
    let named = try TreeModel(ensemble: ensemble, inputs: [
      InputTensor(
        name: "input", shape: [2], columns: ["age", "carrier"], absent: .nan,
        categories: [
          ColumnCategories(column: 0, names: CategoryNames([.integer(3), .number(2.5), .boolean(true)])),
          ColumnCategories(column: 1, names: CategoryNames([.text("AA"), .text("B6"), .text("Ünï")])),
        ])
    ])
    return try [encoded(linear.write), encoded(trees.write), encoded(named.write)]
  }
}
