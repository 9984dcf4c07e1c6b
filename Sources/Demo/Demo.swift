// The flights demo: data, replay, scores, live view.
