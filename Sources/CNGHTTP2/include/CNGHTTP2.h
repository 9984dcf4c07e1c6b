// nghttp2's HTTP/2 sessions and zlib's inflation, for Swift.
#pragma once
#include <nghttp2/nghttp2.h>
#include <zlib.h>
