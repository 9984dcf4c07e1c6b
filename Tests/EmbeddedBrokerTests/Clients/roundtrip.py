"""What PyPI's clients do all day: topics, keys, headers, compression, idempotence, times, settings, groups' descriptions.

usage: roundtrip.py BOOTSTRAP confluent|kafka-python
"""
import sys
import time


def confluent(bootstrap):
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("c", num_partitions=2, replication_factor=1, config={"retention.bytes": "123456789"})])["c"].result()
    try:
        admin.create_topics([NewTopic("c", num_partitions=1, replication_factor=1)])["c"].result()
        raise AssertionError("created twice")
    except KafkaException as error:
        assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error
    expected = []
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        for idempotent in [False, True]:
            producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 5})
            for number in range(200):
                value = f"{codec} {idempotent} {number} {'x' * 100}".encode()
                producer.produce("c", key=b"k%d" % number, value=value, partition=0, headers=[("codec", codec.encode())],
                                 timestamp=1_600_000_000_000 + len(expected))
                expected.append(value)
            assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "c-group", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.assign([TopicPartition("c", 0, 0)])
    got = []
    deadline = time.monotonic() + 30
    while len(got) < len(expected):
        assert time.monotonic() < deadline, f"{len(got)} of {len(expected)}"
        for message in consumer.consume(500, 0.5):
            assert message.error() is None, message.error()
            assert message.headers()[0][0] == "codec"
            assert message.offset() == len(got)
            got.append(message.value())
    assert got == expected
    assert consumer.get_watermark_offsets(TopicPartition("c", 0)) == (0, len(expected))
    by_time = consumer.offsets_for_times([TopicPartition("c", 0, 1_600_000_000_000 + 150)], timeout=10)[0].offset
    assert by_time == 150, by_time
    consumer.commit(offsets=[TopicPartition("c", 0, 77, "note")], asynchronous=False)
    committed = consumer.committed([TopicPartition("c", 0)], timeout=10)[0]
    assert committed.offset == 77 and committed.metadata == "note", committed
    consumer.close()
    settings = list(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "c")]).values())[0].result()
    assert settings["retention.bytes"].value == "123456789"
    assert "c-group" in [group.group_id for group in admin.list_consumer_groups().result().valid]
    assert list(admin.delete_records([TopicPartition("c", 0, 100)]).values())[0].result().low_watermark == 100
    admin.create_partitions([NewPartitions("c", 5)])["c"].result()
    assert len(admin.list_topics("c", timeout=10).topics["c"].partitions) == 5
    admin.delete_consumer_groups(["c-group"])["c-group"].result()
    admin.delete_topics(["c"])["c"].result()
    assert "c" not in admin.list_topics(timeout=10).topics


def kafka_python(bootstrap):
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic("k", 2, 1)])
    expected = []
    for codec in [None, "gzip"]:
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=5, acks="all")
        for number in range(300):
            value = b"%s %d %s" % (str(codec).encode(), number, b"x" * 100)
            producer.send("k", key=b"k", value=value, partition=1, headers=[("codec", str(codec).encode())])
            expected.append(value)
        producer.flush(30)
        producer.close()
    partition = TopicPartition("k", 1)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id="k-group", enable_auto_commit=False)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    got = []
    deadline = time.monotonic() + 30
    while len(got) < len(expected):
        assert time.monotonic() < deadline, f"{len(got)} of {len(expected)}"
        for records in consumer.poll(500).values():
            got += [record.value for record in records]
    assert got == expected
    assert consumer.end_offsets([partition]) == {partition: len(expected)}
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.offsets_for_times({partition: 0})[partition].offset == 0
    consumer.commit()
    assert consumer.committed(partition) == len(expected)
    consumer.close()
    admin.delete_topics(["k"])
    admin.close()


if __name__ == "__main__":
    {"confluent": confluent, "kafka-python": kafka_python}[sys.argv[2]](sys.argv[1])
    print("ok")
