"""Which embedding row a feature's value has: the same numbers as the server's, to train with.

    seed = feature_seed("carrier")
    row = row_of(categorical(b"AA", seed), 1000)

The definitions stand in Sources/CKernels/include/mr_hash.h and mr_embedding.h, and in words in docs/models.md. Python's own integers,
nothing else; `python3 hashing.py` prints the values that Tests/ImportersTests holds against the server's.
"""

WORD = (1 << 64) - 1
# First 64 fractional bits of the square roots of 2, 3, 5 and 7.
A, B, C, D = 0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1


def fold(a, b):
    product = a * b
    return (product & WORD) ^ (product >> 64)


def mix(x):
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & WORD
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & WORD
    return x ^ x >> 31


def rotate(x, by):
    return (x << by | x >> (64 - by)) & WORD


def hash64(data, seed):
    """The 64-bit hash of bytes."""
    state = fold(seed ^ A, len(data) ^ B)
    at, left = 0, len(data)
    while left > 16:
        first, last = (int.from_bytes(data[i : i + 8], "little") for i in (at, at + 8))
        state = (fold(first ^ state, last ^ C) + rotate(state, 29)) & WORD
        at, left = at + 16, left - 16
    rest = data[at:]
    if left >= 8:
        x, y = int.from_bytes(rest[:8], "little"), int.from_bytes(rest[-8:], "little")
    elif left >= 4:
        x, y = int.from_bytes(rest[:4], "little"), int.from_bytes(rest[-4:], "little")
    elif left:
        x, y = rest[0] | rest[left >> 1] << 8 | rest[-1] << 16, 0
    else:
        x, y = 0, 0
    return mix((fold(x ^ state ^ C, y ^ rotate(state, 32) ^ D) + x) & WORD)


def usable(row):
    """Zero is no id."""
    return row or 0x9E3779B97F4A7C15


def feature_seed(name):
    return hash64(name.encode(), 0)


def categorical(value, seed):
    """The id of a categorical value: its UTF-8 bytes; whole numbers as decimal digits, booleans as true or false."""
    return usable(hash64(value, seed))


def numeric(seed):
    """The id of a numeric feature (factorization machines: its row, times the value)."""
    return usable(hash64(b"", seed))


def bucket(index, seed):
    """The id of a numeric feature's bucket: how many of its bounds are not above the value."""
    return usable(hash64(str(index).encode(), seed))


def place(index, seed):
    """The id of a vector's place (factorization machines)."""
    return usable(hash64(index.to_bytes(8, "little"), seed))


def cross(ids):
    """The id of a cross, from those of its parts in the declared order."""
    joined = ids[0]
    for part in ids[1:]:
        folded = fold(joined ^ 0x5BE0CD19137E2179, part ^ 0x9B05688C2B3E6C1F)
        joined = usable(mix((folded + rotate(joined, 17)) & WORD))
    return joined


def row_of(row_id, rows):
    """The row of an id in a table of `rows` rows."""
    return (mix(row_id) >> 32) * rows >> 32


if __name__ == "__main__":
    names = ["carrier", "a", "", "origin and destination", "é", "x" * 40]
    values = ["AA", "", "1545", "-7", "true", "zürich", "0123456789abcdef", "0123456789abcdef0", "the quick brown fox jumps over"]
    for name in names:
        seed = feature_seed(name)
        ids = [categorical(value.encode(), seed) for value in values]
        for value, row_id in zip(values, ids):
            print(f"{row_id:016x} {row_of(row_id, 1000)} {row_of(row_id, 4294967295)}")
        print(f"{numeric(seed):016x} {bucket(3, seed):016x} {place(7, seed):016x} {cross(ids[:2]):016x} {cross(ids):016x}")
