// Quiescence: a writer that has replaced an array frees the old one only when no reader can still look at it.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// One registered reader. A thread that reads tables owns one, or several; one is never used by two threads at once.
typedef struct mr_reader mr_reader;

/// Registers a reader with the process. Null when memory is out.
mr_reader *mr_reader_register(void);
/// Gives it back. The reader must not be inside.
void mr_reader_release(mr_reader *reader);
/// From here to `mr_reader_leave`, what the reader finds through a table stays mapped. Wait-free. Does not nest.
void mr_reader_enter(mr_reader *reader);
void mr_reader_leave(mr_reader *reader);

/// For writers. Call after the replacement is published: returns the epoch that the replaced thing is tagged with.
uint64_t mr_reader_retire_epoch(void);
/// Whether every reader has left, or entered after, `epoch`.
bool mr_reader_quiescent(uint64_t epoch);
