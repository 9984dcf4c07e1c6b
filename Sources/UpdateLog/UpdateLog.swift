// Update records, the acceptance rule, optimizers, replicas, checkpoints. Sans-IO but for checkpoint files.
