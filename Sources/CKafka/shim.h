// librdkafka's headers, and what Swift cannot write as plainly: filling the tagged union of
// rd_kafka_produceva.
#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/prctl.h>

/// Names the calling thread for the system's tools; the first 15 bytes count.
static inline void millrace_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

/// Sleeps of the calling thread end within a microsecond of their time instead of 50.
static inline void millrace_sharpen_timers(void) { prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); }

/// Produces one message with an optional timestamp (0 = now) and optional headers (owned by the
/// message once this returns NO_ERROR, destroyed here otherwise). Headers go in as one list
/// (VTYPE_HEADERS): before librdkafka 2.12 a list built from single headers is freed twice when
/// the partition does not exist, an application's own list is not.
static inline rd_kafka_resp_err_t millrace_kafka_produce(
    rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition, int flags, const void *value,
    size_t value_length, const void *key, size_t key_length, int64_t timestamp_milliseconds,
    rd_kafka_headers_t *headers, void *opaque) {
  rd_kafka_vu_t units[8];
  size_t count = 0;
  units[count].vtype = RD_KAFKA_VTYPE_RKT;
  units[count++].u.rkt = topic;
  units[count].vtype = RD_KAFKA_VTYPE_PARTITION;
  units[count++].u.i32 = partition;
  units[count].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
  units[count++].u.i = flags;
  units[count].vtype = RD_KAFKA_VTYPE_VALUE;
  units[count].u.mem.ptr = (void *)value;
  units[count++].u.mem.size = value_length;
  if (key) {
    units[count].vtype = RD_KAFKA_VTYPE_KEY;
    units[count].u.mem.ptr = (void *)key;
    units[count++].u.mem.size = key_length;
  }
  if (timestamp_milliseconds) {
    units[count].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
    units[count++].u.i64 = timestamp_milliseconds;
  }
  if (headers) {
    units[count].vtype = RD_KAFKA_VTYPE_HEADERS;
    units[count++].u.headers = headers;
  }
  units[count].vtype = RD_KAFKA_VTYPE_OPAQUE;
  units[count++].u.ptr = opaque;

  rd_kafka_error_t *error = rd_kafka_produceva(client, units, count);
  if (!error) return RD_KAFKA_RESP_ERR_NO_ERROR;
  rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  rd_kafka_error_destroy(error);
  if (headers) rd_kafka_headers_destroy(headers);
  return code;
}
