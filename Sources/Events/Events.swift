// Wire forms of events, labels, examples and predictions: JSON, protobuf, V2.
