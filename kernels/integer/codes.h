// From floats to codes: saturate(rint(x / s) + z) exactly as docs/quantization.md has it, most of it without divisions.
#pragma once

#include "clamp.h"
#include "simd.h"

namespace {

typedef int8_t vb __attribute__((vector_size(VL)));  // codes of one vector of floats, int8 or the bits of uint8

// The grid of codes that a step or a row has.
struct Grid {
  float scale;
  float inverse;  // 0 where 1 / scale is no use as a factor
  int32_t zero, low, high;  // zero point, least and largest code

  Grid(float s, int64_t z, bool is_signed) : scale(s), zero((int32_t)z), low(is_signed ? -128 : 0), high(is_signed ? 127 : 255) {
    inverse = s > 1e-36f && s < 1e35f ? 1.0f / s : 0.0f;
  }
};

// Float32 numbers up to 2^22 are rounded to integers, ties to even, by adding and subtracting this.
constexpr float MAGIC = 12582912.0f;  // 1.5 * 2^23

// True if any lane's distance from its integer is so near to a half that x * (1 / s) may round otherwise than x / s:
// both roundings of the product err by less than 1e-4 together, as |x / s| < 600.
inline bool near_tie(vf distance) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)distance), (__m512)splat(0.4998f), _CMP_GT_OQ) != 0;
#else
  const vi near = (vi)(distance > 0.4998f) | (vi)(distance < -0.4998f);
#if defined(__AVX2__)
  return _mm256_movemask_ps((__m256)near) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)near) != 0;
#elif defined(__aarch64__)
  return vmaxvq_u32((uint32x4_t)near) != 0;
#else
  return (near[0] | near[1] | near[2] | near[3]) != 0;
#endif
#endif
}

// rint(x / s) as floats, within [least, most], which are integers within ±512: what codes saturate at, or further out. NaN becomes 0.
inline vf rounded(vf x, const Grid& g, vf least, vf most) {
  vf q = g.inverse != 0.0f ? x * g.inverse : x / g.scale;
  q = clamped(q == q ? q : vf{}, least, most);
  const vf r = (q + MAGIC) - MAGIC;
  if (g.inverse == 0.0f || __builtin_expect(!near_tie(q - r), 1)) return r;
  q = x / g.scale;
  q = clamped(q == q ? q : vf{}, least, most);
  return (q + MAGIC) - MAGIC;
}

// Codes less their zero point, as floats.
inline vf steps_of(vf x, const Grid& g) { return rounded(x, g, splat((float)(g.low - g.zero)), splat((float)(g.high - g.zero))); }

inline vb codes_of(vf x, const Grid& g) {
  const vi whole = __builtin_convertvector(steps_of(x, g), vi) + g.zero;
  return __builtin_convertvector(whole, vb);
}

inline void store_codes(int8_t* to, vb v) { __builtin_memcpy(to, &v, sizeof v); }
inline void store_codes_n(int8_t* to, vb v, int n) {
  int8_t lanes[VL];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int i = 0; i < n; i++) to[i] = lanes[i];
}

}  // namespace
