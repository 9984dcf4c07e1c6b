// Replica host and stream predictor: the shells that score.
