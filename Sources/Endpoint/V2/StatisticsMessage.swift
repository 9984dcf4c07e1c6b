extension ControlMessage {
  /// inference.ModelStatistics of one model.
  init(statisticsOf model: ServedModel) {
    let counted = model.statistics.snapshot()
    self.init([
      (1, "name", .text(model.name)),
      (2, "version", .text(model.version)),
      (3, "last_inference", .integer(counted.lastInferenceMilliseconds)),
      (4, "inference_count", .integer(Int64(counted.inferenceCount))),
      (5, "execution_count", .integer(Int64(counted.executionCount))),
      (6, "inference_stats", .message(ControlMessage([
        (1, "success", Self.durations(counted.success)),
        (2, "fail", Self.durations(counted.fail)),
        (3, "queue", Self.durations(counted.queue)),
        (4, "compute_input", Self.durations(counted.computeInput)),
        (5, "compute_infer", Self.durations(counted.computeInfer)),
        (6, "compute_output", Self.durations(counted.computeOutput)),
        // There is no cache of answers: the model learns between two equal requests.
        (7, "cache_hit", Self.durations(InferenceStatistics.Durations())),
        (8, "cache_miss", Self.durations(InferenceStatistics.Durations())),
      ]))),
      (7, "batch_stats", .messages(counted.batches.map { batch in
        ControlMessage([
          (1, "batch_size", .integer(Int64(batch.size))),
          (2, "compute_input", Self.durations(batch.computeInput)),
          (3, "compute_infer", Self.durations(batch.computeInfer)),
          (4, "compute_output", Self.durations(batch.computeOutput)),
        ])
      })),
    ])
  }

  private static func durations(_ durations: InferenceStatistics.Durations) -> Value {
    .message(ControlMessage([(1, "count", .integer(Int64(durations.count))), (2, "ns", .integer(Int64(durations.nanoseconds)))]))
  }
}
