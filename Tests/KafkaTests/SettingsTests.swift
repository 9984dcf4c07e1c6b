import Kafka
import Testing

@Suite struct KafkaSettingsTests {
  @Test func aWrongPropertyIsNamed() throws {
    let settings = KafkaSettings(bootstrapServers: "127.0.0.1:1", properties: ["fetch.wait.max.mss": "5"])
    let error = try #require(throws: KafkaError.self) { try KafkaConsumer(settings, group: nil) }
    #expect(error.code == .invalidSetting)
    #expect(error.message.contains("\"fetch.wait.max.mss\""))
    #expect(throws: KafkaError.self) { try KafkaProducer(settings) }
    #expect(throws: KafkaError.self) { try KafkaAdmin(settings) }
  }

  @Test func aWrongValueIsNamed() throws {
    let settings = KafkaSettings(bootstrapServers: "127.0.0.1:1", properties: ["linger.ms": "soon"])
    let error = try #require(throws: KafkaError.self) { try KafkaProducer(settings) }
    #expect(error.message.contains("\"linger.ms\"") && error.message.contains("soon"))
  }

  @Test func aSecretIsNotShown() throws {
    let settings = KafkaSettings(
      bootstrapServers: "127.0.0.1:1", properties: ["ssl.key.password.wrong": "hunter2"])
    let error = try #require(throws: KafkaError.self) { try KafkaProducer(settings) }
    #expect(!error.message.contains("hunter2"))
  }

  @Test func propertiesOverrideOurs() throws {
    // Refused together: proof that both arrive at librdkafka.
    let settings = KafkaSettings(
      bootstrapServers: "127.0.0.1:1", properties: ["acks": "1", "enable.idempotence": "true"])
    #expect(throws: KafkaError.self) { try KafkaProducer(settings) }
    let plain = KafkaSettings(
      bootstrapServers: "127.0.0.1:1", properties: ["acks": "1", "enable.idempotence": "false"])
    try KafkaProducer(plain).close()
  }
}
