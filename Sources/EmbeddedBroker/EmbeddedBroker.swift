// A single-node, file-backed broker speaking the Kafka protocol, for development and tests.
