// Hashes of the wire and the log. What they return is stored in logs, checkpoints and partition
// choices: it never changes. Test vectors: Tests/KernelsTests/HashTests.swift.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The low 64 bits of the product exclusive-or the high 64 bits. Every output bit depends on every
/// bit of both operands unless one of them is zero.
static inline uint64_t mr_fold64(uint64_t a, uint64_t b) {
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/// A bijection of 64-bit words: shift, exclusive-or and odd multiply, with the constants of David Stafford's
/// variant 13 (the finalizer of SplitMix64). Zero stays zero.
static inline uint64_t mr_mix64(uint64_t x) {
  x ^= x >> 30;
  x *= UINT64_C(0xBF58476D1CE4E5B9);
  x ^= x >> 27;
  x *= UINT64_C(0x94D049BB133111EB);
  x ^= x >> 31;
  return x;
}

/// The 64-bit hash of `size` bytes at `data` (may be null when `size` is 0) under `seed`.
/// The same on every machine (bytes are read little-endian). For feature names and values, keys and
/// event ids: short strings of trusted or untrusted origin; it is not a cryptographic hash.
///
/// Definition. Fractional bits of square roots of primes give four constants A, B, C, D.
/// `state = fold(seed ^ A, size ^ B)`. Each full block of 16 bytes that has at least one byte after
/// it: `state = fold(first8 ^ state, last8 ^ C) + rotl(state, 29)`. The last 0...16 bytes give two
/// words x, y: 8...16 bytes: the first eight and the last eight (they may overlap); 4...7 bytes: the
/// first four and the last four; 1...3 bytes: x = first | middle << 8 | last << 16, y = 0; 0: x = y = 0.
/// The result is `mix(fold(x ^ state ^ C, y ^ rotl(state, 32) ^ D) + x)`.
uint64_t mr_hash64(const void *data, size_t size, uint64_t seed);

/// hashes[i] = mr_hash64 of the 8 bytes (little-endian) of words[i]: many whole numbers at once. `hashes` may be `words`.
void mr_hash64_words(const uint64_t *words, size_t count, uint64_t seed, uint64_t *hashes);

/// Joins an accumulated hash and the hash of the next part: depends on the order of parts.
static inline uint64_t mr_hash_combine(uint64_t accumulated, uint64_t part) {
  uint64_t folded = mr_fold64(accumulated ^ UINT64_C(0x5BE0CD19137E2179), part ^ UINT64_C(0x9B05688C2B3E6C1F));
  return mr_mix64(folded + ((accumulated << 17) | (accumulated >> 47)));
}

/// The shard of row `id` among `count` shards: `mix(id) mod count`. `count` 0 is read as 1.
static inline uint32_t mr_shard_of(uint64_t id, uint32_t count) {
  if (count <= 1) return 0;
  uint64_t mixed = mr_mix64(id ^ UINT64_C(0x510E527FADE682D1));
  if ((count & (count - 1)) == 0) return (uint32_t)mixed & (count - 1);
  return (uint32_t)(mixed % count);
}
