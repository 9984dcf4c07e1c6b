import Kafka
import Testing

@Suite struct AdminTests {
  @Test func waitsForABrokerAndSaysSo() throws {
    // Port 1 on loopback: nobody listens.
    let admin = try KafkaAdmin(KafkaSettings(bootstrapServers: "127.0.0.1:1"))
    var told = 0
    let reached = admin.waitUntilReachable(timeoutMilliseconds: 60_000) { _, error in
      #expect(error.message.contains("127.0.0.1:1"))
      told += 1
      return told < 2
    }
    #expect(!reached)
    #expect(told == 2)
    #expect(!admin.waitUntilReachable(timeoutMilliseconds: 200))
  }

  @Test func reachesAndLists() throws {
    let cluster = try MockCluster()
    cluster.createTopic("b", partitions: 3)
    cluster.createTopic("a", partitions: 1)
    let admin = try KafkaAdmin(cluster.settings)
    #expect(admin.waitUntilReachable(timeoutMilliseconds: 60_000))
    #expect(try admin.listTopics().map(\.name) == ["a", "b"])
    #expect(try admin.partitionCount("b") == 3)
    #expect(try admin.partitionCount("c") == nil)
  }
}
