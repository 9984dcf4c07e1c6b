#pragma once
#include "arena.h"
#include "fields.h"
#include "infer_request.h"
#include "inference/inference.pb-c.h"
#include "millrace/events.pb-c.h"
#include "wire.h"
