import Foundation
import Testing

/// `millrace demo flights` as somebody meets it whose machine has the usual ports in use.
@Suite struct DemoCommandTests {
  @Test(.timeLimit(.minutes(2))) func takenPortsAreNoReasonToStop() throws {
    let folder = try ScratchFolder()
    // Taken by us, or by somebody else already: in both cases it is taken.
    let socket = listener(port: 8001)
    defer { if let socket { close(socket) } }
    let result = try MillraceProcess.run(
      ["demo", "flights", "--generated", "--events", "1000", "--plain", "--json", "result.json"], folder: folder.url, seconds: 100)
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.errors.contains("answers while it learns: gRPC at 127.0.0.1:"), "\(result.errors)")
    #expect(result.errors.contains("(the usual ports are taken)"), "\(result.errors)")
    #expect(!result.errors.contains("gRPC at 127.0.0.1:8001"), "\(result.errors)")
    // Without a terminal it ends at the end.
    #expect(result.output.contains("1,000 questions answered"), "\(result.output)")
    #expect(FileManager.default.fileExists(atPath: folder.url.appendingPathComponent("result.json").path))
  }

  /// Nil when the port is taken.
  private func listener(port: Int) -> Int32? {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let listens = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 && listen(socket, 1) == 0
      }
    }
    if listens { return socket }
    close(socket)
    return nil
  }
}
