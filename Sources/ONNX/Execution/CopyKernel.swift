// Hot.

/// The first input's bytes.
final class CopyKernel: Kernel, @unchecked Sendable {
  override func run(_ call: Call) {
    let output = call.output()
    output.data.copyMemory(from: call.input(0).data, byteCount: output.byteCount)
  }
}

/// The first input's bytes under another shape: nothing runs. Folding copies nothing either.
final class ViewKernel: Kernel, @unchecked Sendable {
  override var isView: Bool { true }
}
