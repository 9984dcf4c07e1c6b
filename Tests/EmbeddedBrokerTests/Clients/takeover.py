"""Two consumers of a group share a topic; one is killed; the other takes over and nothing is lost.

usage: takeover.py BOOTSTRAP confluent|kafka-python
"""
import os
import signal
import subprocess
import sys
import time

PARTITIONS = 4
DEADLINE = time.monotonic() + 90


class Confluent:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create(self, topic):
        from confluent_kafka.admin import AdminClient, NewTopic
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)])[topic].result()

    def produce(self, topic, values):
        from confluent_kafka import Producer
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 0})
        failures = []
        for number, value in enumerate(values):
            producer.produce(topic, value=value, partition=number % PARTITIONS,
                             on_delivery=lambda error, _: failures.append(error) if error else None)
        assert producer.flush(30) == 0 and not failures, failures

    def consumer(self, topic, group):
        from confluent_kafka import Consumer
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "session.timeout.ms": 1500, "heartbeat.interval.ms": 200, "enable.auto.commit": False,
        })
        consumer.subscribe([topic])
        return consumer

    def poll(self, consumer):
        messages = consumer.consume(500, 0.2)
        for message in messages:
            assert message.error() is None, message.error()
        return [message.value() for message in messages]

    def assigned(self, consumer):
        return {partition.partition for partition in consumer.assignment()}

    def positions(self, consumer, topic):
        from confluent_kafka import TopicPartition
        return [place.offset for place in consumer.position([TopicPartition(topic, number) for number in range(PARTITIONS)])]

    def commit(self, consumer):
        consumer.commit(asynchronous=False)


class KafkaPython:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def create(self, topic):
        from kafka.admin import KafkaAdminClient, NewTopic
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.close()

    def produce(self, topic, values):
        from kafka import KafkaProducer
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        futures = [producer.send(topic, value=value, partition=number % PARTITIONS) for number, value in enumerate(values)]
        for future in futures:
            future.get(30)
        producer.close()

    def consumer(self, topic, group):
        from kafka import KafkaConsumer
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
            session_timeout_ms=1500, heartbeat_interval_ms=200)
        # kafka-python 3.0 that joins before it has the topic's metadata assigns nothing and never notices.
        consumer.partitions_for_topic(topic)
        consumer.subscribe([topic])
        return consumer

    def poll(self, consumer):
        return [record.value for records in consumer.poll(200).values() for record in records]

    def assigned(self, consumer):
        return {partition.partition for partition in consumer.assignment()}

    def positions(self, consumer, topic):
        from kafka import TopicPartition
        return [consumer.position(TopicPartition(topic, number)) for number in range(PARTITIONS)]

    def commit(self, consumer):
        consumer.commit()


def client(name, bootstrap):
    return {"confluent": Confluent, "kafka-python": KafkaPython}[name](bootstrap)


def until(what, condition):
    while not condition():
        assert time.monotonic() < DEADLINE, f"not in time: {what}"


def follow(kafka, topic, group):
    """The consumer that will be killed: says what it holds and what it got, never commits."""
    consumer = kafka.consumer(topic, group)
    held = None
    while True:
        for value in kafka.poll(consumer):
            print("got", value.decode(), flush=True)
        now = kafka.assigned(consumer)
        if now != held:
            held = now
            print("holds", len(held), flush=True)


def main():
    bootstrap, name = sys.argv[1:3]
    kafka = client(name, bootstrap)
    topic, group = f"takeover-{name}", f"group-{name}"
    if len(sys.argv) > 3:
        return follow(kafka, topic, group)
    kafka.create(topic)
    first = [b"first-%d" % number for number in range(400)]
    second = [b"second-%d" % number for number in range(400)]
    consumer = kafka.consumer(topic, group)
    got = set()

    def poll():
        got.update(kafka.poll(consumer))

    until("the first consumer holds everything", lambda: (poll(), len(kafka.assigned(consumer)) == PARTITIONS)[1])
    other = subprocess.Popen([sys.executable, __file__, bootstrap, name, "follow"], stdout=subprocess.PIPE, text=True)
    try:
        os.set_blocking(other.stdout.fileno(), False)
        said = []

        def hear():
            poll()
            while line := other.stdout.readline():
                said.append(line.strip())

        until("both hold half", lambda: (hear(), len(kafka.assigned(consumer)) == PARTITIONS // 2 and "holds 2" in said)[1])
        kafka.produce(topic, first)
        until("both consume", lambda: (hear(), len(got) + sum(line.startswith("got") for line in said) >= len(first))[1])
        assert got and any(line.startswith("got") for line in said), "one of the two got nothing"
        kafka.commit(consumer)
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        kafka.produce(topic, second)
        # The dead one committed nothing, so its share comes again, with everything that is new.
        until("the survivor has everything", lambda: (poll(), got >= set(first) | set(second))[1])
        assert len(kafka.assigned(consumer)) == PARTITIONS
        # Its own share too may come again after the rebalance: only positions at the end may be committed.
        ends = [(len(first) + len(second)) // PARTITIONS] * PARTITIONS
        until("positions at the end", lambda: (poll(), kafka.positions(consumer, topic) == ends)[1])
    finally:
        if other.poll() is None:
            other.kill()
            other.wait(10)
        other.stdout.close()
    kafka.commit(consumer)
    consumer.close()
    # What was committed is not delivered again.
    again = kafka.consumer(topic, group)
    until("assignment after a restart", lambda: (got.clear(), poll_into(kafka, again, got), len(kafka.assigned(again)) == PARTITIONS)[2])
    kafka.produce(topic, [b"last"])
    until("the last record", lambda: (poll_into(kafka, again, got), b"last" in got)[1])
    assert got == {b"last"}, f"delivered again: {len(got)} records"
    again.close()
    print("ok")


def poll_into(kafka, consumer, got):
    got.update(kafka.poll(consumer))


if __name__ == "__main__":
    main()
