import Foundation

/// Certificates for tests: an authority, and a server and a client that it signed, for localhost, for a hundred years.
final class TestCertificates {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("certificates-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for (name, text) in [
      ("ca.pem", Self.authority), ("server.pem", Self.server), ("server.key", Self.serverKey), ("client.pem", Self.client),
      ("client.key", Self.clientKey), ("broken.pem", "no certificate"),
    ] {
      try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    }
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

  private static let authority = """
    -----BEGIN CERTIFICATE-----
    MIIBiDCCAS+gAwIBAgIUWniohJqaLTSDxSDI56TAYngN0lMwCgYIKoZIzj0EAwIw
    GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMTMyMjI5WhgPMjEy
    NjEwMjkxMzIyMjlaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
    zj0CAQYIKoZIzj0DAQcDQgAEw58BB47Yt5DuH+wgQDSZAXALL5lK4uZkcin0uX+m
    offCvDbWn4Fbw7Lw6TN9pwj+xY7lJm265kXraR4u2TimeqNTMFEwHQYDVR0OBBYE
    FH2qUoFOlKvuaZJSc1hfrduHh2bHMB8GA1UdIwQYMBaAFH2qUoFOlKvuaZJSc1hf
    rduHh2bHMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgAolD4irY
    X6N69Hfllru1YtWitUVUy1+2MaQC6KQ27XgCIDDTdGlSBMeTuW9vmwbZs2qu43Ib
    2ldkUz5T4gRCwcFz
    -----END CERTIFICATE-----

    """

  private static let server = """
    -----BEGIN CERTIFICATE-----
    MIIBkTCCATagAwIBAgIUW6sqiTHRs4obEn9uYxYOdaBemYgwCgYIKoZIzj0EAwIw
    GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMTMyMjI5WhgPMjEy
    NjEwMjkxMzIyMjlaMBUxEzARBgNVBAMMCnNlcnZlciBvbmUwWTATBgcqhkjOPQIB
    BggqhkjOPQMBBwNCAASZS70Ou0EdAjfirWn0XBq8vu8f0jI+Ju4Sib9R+ASbfygg
    DXhXVpTdEqzB49yLQ4g5TqrJfRDIbSnwpjizcuu9o14wXDAaBgNVHREEEzARggls
    b2NhbGhvc3SHBH8AAAEwHQYDVR0OBBYEFMNzw7g2ctn1R8/5ez4LlyHjbbtwMB8G
    A1UdIwQYMBaAFH2qUoFOlKvuaZJSc1hfrduHh2bHMAoGCCqGSM49BAMCA0kAMEYC
    IQCjUuXq1cfc5ZA8aqa8bhbpCxx92E4yO52fo/1cQ6VfmgIhAM+dzmNwty9uqVyX
    0RK7x0JKuwIApRTFY5y/tKQyBdf9
    -----END CERTIFICATE-----

    """

  private static let serverKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9DIurX5THhwYPGav
    7xsoemuGAW8BdwDz3thf3hM2bPyhRANCAASZS70Ou0EdAjfirWn0XBq8vu8f0jI+
    Ju4Sib9R+ASbfyggDXhXVpTdEqzB49yLQ4g5TqrJfRDIbSnwpjizcuu9
    -----END PRIVATE KEY-----

    """

  private static let client = """
    -----BEGIN CERTIFICATE-----
    MIIBkTCCATagAwIBAgIUW6sqiTHRs4obEn9uYxYOdaBemYkwCgYIKoZIzj0EAwIw
    GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMTMyMjMwWhgPMjEy
    NjEwMjkxMzIyMzBaMBUxEzARBgNVBAMMCmNsaWVudCBvbmUwWTATBgcqhkjOPQIB
    BggqhkjOPQMBBwNCAARM9M+e74Wde1eE3I3AKbdV4jOq/wMhsMr0Y2vVz1heBi3r
    3nOmLAbncvjhj18xbPNfIJNqA4+I4NRw6K4W+SUCo14wXDAaBgNVHREEEzARggls
    b2NhbGhvc3SHBH8AAAEwHQYDVR0OBBYEFBjJ5rgIwgWGChr9oWuzsr/GnjVsMB8G
    A1UdIwQYMBaAFH2qUoFOlKvuaZJSc1hfrduHh2bHMAoGCCqGSM49BAMCA0kAMEYC
    IQC+tgNfx9A/c1pYYX7GSbwV1/zyumQxbpjni8u9XO62ZwIhAM4Z1DOPtz6IdEsA
    +4Ahx50CMwFQTbZ9oOK5YguJG3aD
    -----END CERTIFICATE-----

    """

  private static let clientKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgut/6KBh/77ohsx/G
    ZUf9TMY2IrSbA/JTYXJhj+qjxymhRANCAARM9M+e74Wde1eE3I3AKbdV4jOq/wMh
    sMr0Y2vVz1heBi3r3nOmLAbncvjhj18xbPNfIJNqA4+I4NRw6K4W+SUC
    -----END PRIVATE KEY-----

    """
}
