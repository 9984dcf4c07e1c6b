// Configuration file, admin HTTP, health, logs.
