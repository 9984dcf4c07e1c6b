internal import Telemetry

/// What is counted about the models of a store. Series of a model are made when its name is known.
struct StoreMetrics {
  let registry: Registry

  func loaded(_ model: String, seconds nanoseconds: Int64) {
    registry.counter("millrace_model_loads_total", "Bundles that were loaded", labels: [("model", model)]).add()
    registry.histogram(
      "millrace_model_load_seconds", "From opening a bundle to the version being warm, checksums included", labels: [("model", model)]
    ).record(nanoseconds: nanoseconds)
  }

  func failed(_ model: String) {
    registry.counter(
      "millrace_model_load_failures_total", "Bundles that could not be loaded; what was served before is served on",
      labels: [("model", model)]
    ).add()
  }

  func holds(_ model: String, versions: Int, mappedBytes: Int, copiedBytes: Int) {
    registry.gauge("millrace_model_versions_loaded", "Versions of the model that can be asked for", labels: [("model", model)])
      .set(Double(versions))
    for (kind, bytes) in [("mapped", mappedBytes), ("copied", copiedBytes)] {
      registry.gauge(
        "millrace_model_bundle_bytes", "Bytes of the model's bundles in memory, by whether they are mapped or copied",
        labels: [("model", model), ("kind", kind)]
      ).set(Double(bytes))
    }
  }

  func spare(_ model: String, bytes: Int) {
    registry.gauge(
      "millrace_model_spare_bytes", "Memory of a version that went, kept for the one that comes", labels: [("model", model)]
    ).set(Double(bytes))
  }

  func retired(_ count: Int) {
    registry.gauge("millrace_model_versions_retired", "Old versions whose last requests have not ended yet").set(Double(count))
  }
}
