internal import CNGHTTP2
internal import NIOCore
internal import NIOSSL

/// Reads certificates and keys at start, so that what is wrong with them is said then.
enum TLSContext {
  static func make(_ settings: TLSServerSettings) throws -> NIOSSLContext {
    let chain = try certificates("certificateChainPath", settings.certificateChainPath)
    let key: NIOSSLPrivateKey
    do {
      key = try NIOSSLPrivateKey(file: settings.privateKeyPath, format: .pem)
    } catch {
      throw RPCServerError(.certificate, "privateKeyPath: \(settings.privateKeyPath) has no private key in PEM form: \(error)")
    }
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.applicationProtocols = ["h2"]
    configuration.minimumTLSVersion = .tlsv12
    if let path = settings.clientCertificateAuthorityPath {
      configuration.trustRoots = .certificates(try certificates("clientCertificateAuthorityPath", path))
      configuration.certificateVerification = .noHostnameVerification
    }
    do {
      return try NIOSSLContext(configuration: configuration)
    } catch {
      throw RPCServerError(
        .certificate, "the key of \(settings.privateKeyPath) does not belong to the certificate of \(settings.certificateChainPath): \(error)")
    }
  }

  private static func certificates(_ setting: String, _ path: String) throws -> [NIOSSLCertificate] {
    do {
      let read = try NIOSSLCertificate.fromPEMFile(path)
      if !read.isEmpty { return read }
    } catch {
      throw RPCServerError(.certificate, "\(setting): \(path) has no certificate in PEM form: \(error)")
    }
    throw RPCServerError(.certificate, "\(setting): \(path) has no certificate in PEM form")
  }
}

extension ServerConnection {
  /// The subject of the client's certificate as `CN=…`; nil without one.
  var peerCertificateSubject: String? {
    guard let certificate = try? context?.channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate else {
      return nil
    }
    // The library tells the name only within a description: after this word, and before the last thing that may follow it. (Names may
    // hold any text, so a name is never cut short at something that looks like an end.)
    let description = "\(certificate)"
    guard let start = description.firstRange(of: ";common_name=")?.upperBound, description.hasSuffix(">") else { return description }
    let rest = description[start...].dropLast()
    return "CN=\(rest[..<(rest.ranges(of: ";alternative_names=").last?.lowerBound ?? rest.endIndex)])"
  }
}
