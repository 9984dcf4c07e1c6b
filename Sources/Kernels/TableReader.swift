internal import CKernels

/// A registered reader of row tables: between `enter` and `leave`, arrays that writers replace stay mapped. Owned by one
/// thread. Wait-free.
public final class TableReader: @unchecked Sendable {
  public let pointer: OpaquePointer

  /// Nil when memory is out.
  public init?() {
    guard let pointer = mr_reader_register() else { return nil }
    self.pointer = pointer
  }

  deinit { mr_reader_release(pointer) }

  @inline(__always) public func enter() { mr_reader_enter(pointer) }
  @inline(__always) public func leave() { mr_reader_leave(pointer) }
}
