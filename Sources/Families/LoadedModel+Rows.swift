public import Model

/// How rows for a loaded model are made: by the same assembler and readers as those of models that learn.
extension LoadedModel {
  /// Bytes of a dense row: the inputs, whole for the largest element in them; 0 for families that take sparse rows alone.
  public var denseRowBytes: Int {
    var end = 0
    var alignment = 1
    for input in inputs {
      end = max(end, input.offset + input.count * input.element.bytes)
      alignment = max(alignment, input.element.bytes)
    }
    return (end + alignment - 1) / alignment * alignment
  }

  /// An empty batch for rows of this model.
  public func makeBatch(rowCapacity: Int = 256) -> RowBatch {
    RowBatch(
      rowCapacity: rowCapacity, entryCapacity: specification == nil ? 1 : 8192, denseRowBytes: denseRowBytes,
      hasFields: specification != nil)
  }

  /// What the readers of events and requests go by: the features that the family hashes, and the inputs that stand in the dense row.
  ///
  /// A numeric feature whose name is a column of an input stands there, after its transform; inputs without such features are tensors,
  /// by their own name or by those of their columns. An input's absent value must be given in `inputs`; without one, requests must have it.
  /// - Throws: what makes the inputs and features no specification.
  public func servingSpecification(name: String, version: Int) throws(SpecificationErrors) -> ModelSpecification {
    var serving = ModelSpecification(
      name: name, version: version, family: .loaded, features: specification?.features ?? [], crosses: specification?.crosses ?? [])
    var taken = Set(serving.features.map(\.name) + inputs.map(\.name))
    for input in inputs {
      let absent: TensorPlace.Absence = input.absent.map { $0.isNaN ? .nan : .value($0) } ?? .refused
      var isNamed = false
      for (column, columnName) in input.columns.enumerated() {
        guard let index = serving.features.firstIndex(where: { $0.name == columnName }) else { continue }
        isNamed = true
        serving.features[index].tensor = TensorPlace(
          element: input.element, offset: input.offset + column * input.element.bytes, absent: absent, refusesNonFinite: true)
      }
      guard !isNamed else { continue }
      // Files name columns as they like. Names that cannot be told apart are none: the tensor itself can still be given.
      let isUsable = input.columns.allSatisfy {
        !$0.isEmpty && $0.utf8.count <= ModelSpecification.featureNameBytesMax && taken.insert($0).inserted
      }
      serving.features.append(.tensor(input.name, TensorPlace(
        element: input.element, shape: input.shape, offset: input.offset, columns: isUsable ? input.columns : [], absent: absent,
        refusesNonFinite: refusesNonFinite, categories: input.categories)))
    }
    let problems = serving.problems()
    guard problems.isEmpty else { throw SpecificationErrors(problems) }
    return serving
  }
}
