// CRC-32 as zlib's (polynomial 0xEDB88320, reflected), by the CPU's own instructions.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace thin {

// Whether this CPU has the instructions; without them zlib is as good.
bool crc32_runs();

// The CRC-32 of `count` bytes that follow those whose CRC-32 is `before` (0: none). Only where crc32_runs().
uint32_t crc32(const uint8_t* data, size_t count, uint32_t before);

}  // namespace thin
