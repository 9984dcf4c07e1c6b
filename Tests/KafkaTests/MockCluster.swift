import CKafka
import Kafka
import Testing

/// librdkafka's built-in mock brokers, for errors that a real broker does not give on demand.
final class MockCluster {
  private let client: OpaquePointer
  private let cluster: OpaquePointer
  let settings: KafkaSettings

  init(brokers: Int32 = 1) throws {
    var reason = [CChar](repeating: 0, count: 512)
    let configuration = rd_kafka_conf_new()
    rd_kafka_conf_set(configuration, "client.id", "mock", &reason, reason.count)
    client = try #require(rd_kafka_new(RD_KAFKA_PRODUCER, configuration, &reason, reason.count))
    cluster = try #require(rd_kafka_mock_cluster_new(client, brokers))
    settings = KafkaSettings(
      bootstrapServers: String(cString: rd_kafka_mock_cluster_bootstraps(cluster)), clientID: "test")
  }

  deinit {
    rd_kafka_mock_cluster_destroy(cluster)
    rd_kafka_destroy(client)
  }

  func createTopic(_ name: String, partitions: Int32) {
    rd_kafka_mock_topic_create(cluster, name, partitions, 1)
  }

  /// The next requests of this kind fail with these codes, in order.
  func failNext(_ api: Int16, _ codes: [rd_kafka_resp_err_t]) {
    rd_kafka_mock_push_request_errors_array(cluster, api, codes.count, codes)
  }

  func setBroker(_ id: Int32 = 1, down: Bool) {
    if down {
      rd_kafka_mock_broker_set_down(cluster, id)
    } else {
      rd_kafka_mock_broker_set_up(cluster, id)
    }
  }
}

/// Numbers of requests in the protocol.
enum API {
  static let produce: Int16 = 0
  static let fetch: Int16 = 1
}
