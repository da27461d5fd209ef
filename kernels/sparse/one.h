// One sparse weight.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

// A half-precision float, by shifting its fields into place; subnormals are scaled up by a multiplication.
inline float half(uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
  uint32_t bits = rest << 13;
  if (rest >= 0x7c00)
    bits |= 0x7f800000;
  else if (rest >= 0x400)
    bits += 112u << 23;
  else
    return thin_f32(sign | 0x33800000) * (float)rest;  // 2^-24 each
  return thin_f32(sign | bits);
#endif
}

// A value and the column it stands in.
struct One {
  int64_t column;
  float value;
};

}  // namespace
