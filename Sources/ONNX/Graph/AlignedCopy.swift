internal import Synchronization

/// The aligned copy of bytes that lie unaligned in a file, made once, when first asked for, by whichever thread comes first.
final class AlignedCopy: @unchecked Sendable {
  private let memory = Mutex<AlignedMemory?>(nil)

  func copy(of bytes: UnsafeRawBufferPointer) -> UnsafeRawPointer {
    memory.withLock { memory in
      if let made = memory { return UnsafeRawPointer(made.pointer) }
      let made = AlignedMemory(byteCount: bytes.count)
      if let base = bytes.baseAddress { made.pointer.copyMemory(from: base, byteCount: bytes.count) }
      memory = made
      return UnsafeRawPointer(made.pointer)
    }
  }
}
