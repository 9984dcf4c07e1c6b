// Hot: every answer begins and ends with these.
internal import CNGHTTP2

/// Headers and trailers that nghttp2 takes without copying: static text, arrays made once.
final class ResponseHeaders {
  /// `:status` 200 and `content-type`.
  let ok: UnsafeMutablePointer<nghttp2_nv>
  static let okCount = 2
  /// `grpc-status` 0.
  let statusOK: UnsafeMutablePointer<nghttp2_nv>
  static let statusOKCount = 1

  init() {
    ok = .allocate(capacity: Self.okCount)
    ok.initialize(to: Self.pair(":status", "200"))
    (ok + 1).initialize(to: Self.pair("content-type", "application/grpc"))
    statusOK = .allocate(capacity: 1)
    statusOK.initialize(to: Self.pair("grpc-status", "0"))
  }

  deinit {
    ok.deallocate()
    statusOK.deallocate()
  }

  private static let codes: [StaticString] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
  ]

  static func status(_ code: RPCCode) -> nghttp2_nv { pair("grpc-status", codes[Int(code.rawValue)]) }

  /// A header whose text lives as long as the program. nghttp2 does not write through these pointers; their types are older than const.
  static func pair(_ name: StaticString, _ value: StaticString) -> nghttp2_nv {
    nghttp2_nv(
      name: UnsafeMutablePointer(mutating: name.utf8Start), value: UnsafeMutablePointer(mutating: value.utf8Start),
      namelen: name.utf8CodeUnitCount, valuelen: value.utf8CodeUnitCount,
      flags: UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue | NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue))
  }

  /// Calls `body` with `first`, then what `stored` holds (see `HeaderStore`). nghttp2 copies the stored ones and keeps them out of its
  /// table of headers: they are rarely the same twice. Allocates.
  static func with<Result>(
    _ first: [nghttp2_nv], _ stored: UnsafeRawBufferPointer, _ body: (UnsafeMutablePointer<nghttp2_nv>?, Int) -> Result
  ) -> Result {
    var pairs = first
    HeaderStore.forEach(stored) { name, value in
      pairs.append(
        nghttp2_nv(
          name: UnsafeMutablePointer(mutating: name.bindMemory(to: UInt8.self).baseAddress),
          value: UnsafeMutablePointer(mutating: value.bindMemory(to: UInt8.self).baseAddress), namelen: name.count,
          valuelen: value.count, flags: UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue)))
    }
    return pairs.withUnsafeMutableBufferPointer { body($0.baseAddress, $0.count) }
  }
}
