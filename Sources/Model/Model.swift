// The model specification, feature hashing, families.
