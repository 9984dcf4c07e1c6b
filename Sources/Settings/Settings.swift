// Typed reading of YAML: every error at once, each with its line.
