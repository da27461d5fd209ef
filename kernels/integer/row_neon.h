// Floats and codes of 8 or 16 sums of a row on 64-bit NEON, with one look at how near to ties they lie.
#pragma once

#include "codes.h"
#include "clamp.h"
#include "dot.h"

#if defined(__aarch64__)
namespace {

// Floats moved to between 256 and 512, where their lowest bit is 2^-15, are codes in bits 15 to 22, above their distances from the next lower ones.
struct Fixed {
  vf offset;            // makes the least code 256, and moves what is near a tie to just above an integer
  int32x4_t low, high;  // of the codes that may be, in the middle between integers; as bits, whose order is that of floats here
  uint16_t near;        // how much of the way to the next code is near a tie, in 2^-16
  vi flip;

  // `width`: how near to a tie is near; the codes are those of int8.
  Fixed(float width, int64_t zero, int64_t least, int64_t most, bool is_unsigned) {
    offset = splat(384.5f + (float)zero + width);
    low = (int32x4_t)splat(384.5f + (float)least);
    high = (int32x4_t)splat(384.5f + (float)most);
    near = (uint16_t)(width * 131072.0f + 2.0f);
    flip = splati(is_unsigned ? 0 : (int32_t)0x80808080);
  }
  [[gnu::always_inline]] uint32x4_t within(vf moved) const { return (uint32x4_t)vminq_s32(vmaxq_s32((int32x4_t)moved, low), high); }
  // Of eight codes, in any order: how far each lies above an integer, in 2^-16.
  static uint16x8_t above(uint32x4_t a, uint32x4_t b) {
    const uint16x8_t bits = vtrn1q_u16((uint16x8_t)a, (uint16x8_t)b);
    return vaddq_u16(bits, bits);
  }
  static uint16x8_t whole(uint32x4_t a, uint32x4_t b) { return vshrn_high_n_u32(vshrn_n_u32(a, 15), b, 15); }
  static uint16x8_t far() { return vdupq_n_u16(0xffff); }
  [[gnu::always_inline]] bool is_near(uint16x8_t least) const { return vminvq_u16(least) < near; }
};

struct RowNeon {
  const float *m, *bias;
  vf floor, ceiling, inverse;
  Fixed fixed;
  bool adds, to_floats, to_codes;

  // 4 V outputs; false if one lies near a tie or is NaN.
  template <int V>
  [[gnu::always_inline]] bool row(const int32_t* sums, float* y, int8_t* codes, const float* addend) const {
    vf value[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) {
      const vf product = apart(__builtin_convertvector(loadi(sums + j * VL), vf) * load(m + j * VL));
      value[j] = product + load(bias + j * VL);
    }
    if (adds)
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) value[j] += load(addend + j * VL);
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) value[j] = clamped(value[j], floor, ceiling);
    if (to_floats)
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) store(y + j * VL, value[j]);
    if (!to_codes) return true;
    uint32x4_t bits[V];
    float32x4_t most = vdupq_n_f32(0.0f);  // NaN if any is
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) {
      const vf moved = (vf)vfmaq_f32((float32x4_t)fixed.offset, (float32x4_t)value[j], (float32x4_t)inverse);
      most = vmaxq_f32(most, (float32x4_t)moved);
      bits[j] = fixed.within(moved);
    }
    uint16x8_t least = vandq_u16(fixed.above(bits[0], bits[1]), (uint16x8_t)vceqq_f32(most, most));
    const uint16x8_t ab = fixed.whole(bits[0], bits[1]);
    if constexpr (V == 4) {
      least = vminq_u16(least, fixed.above(bits[2], bits[3]));
      storei(codes, (vi)vuzp1q_u8((uint8x16_t)ab, (uint8x16_t)fixed.whole(bits[2], bits[3])) ^ fixed.flip);
    } else {
      vst1_u8((uint8_t*)codes, veor_u8(vmovn_u16(ab), vget_low_u8((uint8x16_t)fixed.flip)));
    }
    return !fixed.is_near(least);
  }
};

}  // namespace
#endif
