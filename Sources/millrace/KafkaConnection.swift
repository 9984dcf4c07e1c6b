import ArgumentParser
import Foundation
import Kafka

/// Where the cluster is.
struct KafkaConnection: ParsableArguments {
  @Option(help: ArgumentHelp("Kafka brokers.", valueName: "host:port,…"))
  var bootstrap = "127.0.0.1:9092"

  @Option(name: .customLong("property"), help: ArgumentHelp("A librdkafka property; repeatable.", valueName: "name=value"))
  var properties: [String] = []

  func settings() throws -> KafkaSettings {
    var settings = KafkaSettings(bootstrapServers: bootstrap)
    for property in properties {
      guard let equals = property.firstIndex(of: "="), equals > property.startIndex else {
        throw ValidationError("--property is '\(property)', expected name=value")
      }
      settings.properties[String(property[..<equals])] = String(property[property.index(after: equals)...])
    }
    return settings
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
