// Joiner, trainer and progressive validation as state machines. Sans-IO.
