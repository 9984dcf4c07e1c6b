// nghttp2's HTTP/2 sessions and zlib's inflation, for Swift; and the two small things that have to be C: memory for nghttp2 that does
// not reach malloc for each stream, and telling the headers of a gRPC request apart.
#pragma once
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

/// Memory of the sessions of one thread: blocks that were freed wait in lists by size and are given out again.
typedef struct mr_memory mr_memory;

/// NULL when there is no memory.
mr_memory *mr_memory_create(void);
/// After the last session that uses it is gone.
void mr_memory_destroy(mr_memory *memory);
/// What nghttp2_session_server_new3 and nghttp2_session_client_new3 take; valid as long as `memory`.
nghttp2_mem *mr_memory_functions(mr_memory *memory);
/// Bytes taken from malloc and not given back.
size_t mr_memory_bytes(const mr_memory *memory);

/// Headers that a gRPC server looks at.
typedef enum {
  MR_HEADER_OTHER = 0,
  MR_HEADER_METHOD,
  MR_HEADER_SCHEME,
  MR_HEADER_PATH,
  MR_HEADER_AUTHORITY,
  MR_HEADER_TE,
  MR_HEADER_CONTENT_TYPE,
  MR_HEADER_GRPC_TIMEOUT,
  MR_HEADER_GRPC_ENCODING,
  MR_HEADER_GRPC_ACCEPT_ENCODING,
} mr_header;

/// Which of them a name is. Names come in lower case (nghttp2 refuses others).
static inline mr_header mr_header_of(const uint8_t *name, size_t length) {
  switch (length) {
  case 2: return memcmp(name, "te", 2) == 0 ? MR_HEADER_TE : MR_HEADER_OTHER;
  case 5: return memcmp(name, ":path", 5) == 0 ? MR_HEADER_PATH : MR_HEADER_OTHER;
  case 7:
    if (name[0] != ':') return MR_HEADER_OTHER;
    if (memcmp(name, ":method", 7) == 0) return MR_HEADER_METHOD;
    return memcmp(name, ":scheme", 7) == 0 ? MR_HEADER_SCHEME : MR_HEADER_OTHER;
  case 10: return memcmp(name, ":authority", 10) == 0 ? MR_HEADER_AUTHORITY : MR_HEADER_OTHER;
  case 12:
    if (memcmp(name, "content-type", 12) == 0) return MR_HEADER_CONTENT_TYPE;
    return memcmp(name, "grpc-timeout", 12) == 0 ? MR_HEADER_GRPC_TIMEOUT : MR_HEADER_OTHER;
  case 13: return memcmp(name, "grpc-encoding", 13) == 0 ? MR_HEADER_GRPC_ENCODING : MR_HEADER_OTHER;
  case 20: return memcmp(name, "grpc-accept-encoding", 20) == 0 ? MR_HEADER_GRPC_ACCEPT_ENCODING : MR_HEADER_OTHER;
  default: return MR_HEADER_OTHER;
  }
}

/// Whether a `:method` is POST.
static inline bool mr_is_post(const uint8_t *value, size_t length) { return length == 4 && memcmp(value, "POST", 4) == 0; }

/// Whether a `content-type` is `application/grpc`, alone or followed by a format or parameters.
static inline bool mr_is_grpc(const uint8_t *value, size_t length) {
  if (length < 16 || memcmp(value, "application/grpc", 16) != 0) return false;
  return length == 16 || value[16] == '+' || value[16] == ';';
}
