internal import CKernels
internal import Synchronization

/// Memory in huge pages that outlives the table in it, for the next one: a model that is loaded again every hour needs no fresh memory.
///
/// Fresh memory is what costs most of loading a large table: the system clears it, and a virtual machine whose host took it back while it was
/// free gets it at some 0.4 GB/s, while its processor stands still for milliseconds at a time. Keeps one piece, the last that was given back.
/// Any thread.
public final class PagePool: @unchecked Sendable {
  private struct Piece: @unchecked Sendable {
    var pages: UnsafeMutableRawPointer
    var byteCount: Int

    func free() { mr_pages_free(pages, byteCount) }
  }

  private let kept = Mutex(Optional<Piece>.none)

  public init() {}

  deinit { drain() }

  /// What is kept, in bytes.
  public var byteCount: Int { kept.withLock { $0?.byteCount ?? 0 } }

  /// Gives what is kept back to the system.
  public func drain() { exchange(nil)?.free() }

  /// Memory for `byteCount` bytes, with anything in it; nil when there is none.
  func take(byteCount: Int) -> UnsafeMutableRawPointer? {
    guard let piece = exchange(nil) else { return mr_pages_allocate(byteCount) }
    if let pages = mr_pages_resize(piece.pages, piece.byteCount, byteCount) { return pages }
    piece.free()
    return nil
  }

  /// Takes memory back that `take` gave for as many bytes, or `mr_pages_allocate`.
  func give(_ pages: UnsafeMutableRawPointer, byteCount: Int) { exchange(Piece(pages: pages, byteCount: byteCount))?.free() }

  private func exchange(_ piece: Piece?) -> Piece? {
    kept.withLock { kept in
      defer { kept = piece }
      return kept
    }
  }
}
