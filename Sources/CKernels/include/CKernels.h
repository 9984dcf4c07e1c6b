#pragma once
#include "CRC32C.h"
