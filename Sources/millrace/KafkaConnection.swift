import ArgumentParser
import Foundation
import Kafka

/// What librdkafka is told beyond what we say: security, buffers.
struct KafkaProperties: ParsableArguments {
  @Option(name: .customLong("property"), help: ArgumentHelp("A librdkafka property; repeatable.", valueName: "name=value"))
  var properties: [String] = []

  func validate() throws { _ = try pairs() }

  func pairs() throws -> [String: String] {
    var pairs: [String: String] = [:]
    for property in properties {
      guard let equals = property.firstIndex(of: "="), equals > property.startIndex else {
        throw ValidationError("--property is '\(property)', expected name=value, for example security.protocol=SASL_SSL")
      }
      pairs[String(property[..<equals])] = String(property[property.index(after: equals)...])
    }
    return pairs
  }
}

/// Where the cluster is.
struct KafkaConnection: ParsableArguments {
  @Option(help: ArgumentHelp("Kafka brokers.", valueName: "host:port,…"))
  var bootstrap = "127.0.0.1:9092"

  @OptionGroup var properties: KafkaProperties

  func settings(clientID: String = "millrace") throws -> KafkaSettings {
    KafkaSettings(bootstrapServers: bootstrap, clientID: clientID, properties: try properties.pairs())
  }

  /// Runs `body` with a cluster that answers; a failure is one line on standard error and exit status 1.
  func use(_ body: (KafkaAdmin, KafkaSettings) throws -> Void) throws {
    let settings = try settings()
    do { try body(reachedAdmin(settings), settings) } catch let error as KafkaError {
      report(error.message)
      throw ExitCode.failure
    }
  }
}

/// A client for control, once a broker has answered; throws when none does within five seconds.
func reachedAdmin(_ settings: KafkaSettings) throws -> KafkaAdmin {
  let admin = try KafkaAdmin(settings)
  guard admin.waitUntilReachable(timeoutMilliseconds: 5_000) else {
    throw KafkaError(
      code: .timedOut,
      message: "No Kafka broker answers at \(settings.bootstrapServers). Is it running? `millrace run` and `millrace broker` start one.")
  }
  return admin
}

/// One line on standard error.
func report(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
