// Typed Kafka client: consumer, producer, admin.
