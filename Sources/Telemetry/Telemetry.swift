// Counters, gauges and histograms that cost no allocation to update, and their Prometheus text.
