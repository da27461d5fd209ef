// Codes of floats in fixed point on 64-bit NEON, 8 or 16 at a time, with one look at how near to ties they lie.
#pragma once

#include "codes.h"
#include "dot.h"

#if defined(__aarch64__)
namespace {

// Numbers of a table that are read again wherever they are used, as loads cost less than copies of registers.
template <typename T>
[[gnu::always_inline]] inline const T* read_again(const T* p) {
  asm volatile("" : "+r"(p));
  return p;
}

// Floats moved to between 1 and 2 are codes in bits 15 to 22, above their distances from the next lower ones, in 2^-15. The largest code that may be
// ends at 2: there bits 15 to 30, which keep the order of floats, are as large as 16 bits with a sign can be, so that narrowing clamps what is larger.
struct Fixed {
  vf offset;       // moves what is near a tie to just above an integer
  int16x8_t low;   // of the least code that may be: bits 15 to 30
  uint16_t near;   // how much of the way to the next code is near a tie, in 2^-16
  vi back;         // makes codes of their lowest bytes

  // `width`: how near to a tie is near; the codes are those of int8.
  Fixed(float width, int64_t zero, int64_t least, int64_t most, bool is_unsigned) {
    offset = splat((511.5f - (float)most + (float)zero + width) * STEP);
    low = vdupq_n_s16((int16_t)(INT16_MAX - most + least));
    near = (uint16_t)(width * 131072.0f + 2.0f);
    back = splati((int32_t)((uint8_t)(most + 1 + (is_unsigned ? 128 : 0)) * 0x01010101u));
  }
  static constexpr float STEP = 0x1p-8f;  // from one code to the next
  // Of eight moved floats, in any order: how far each lies above an integer, in 2^-16. Anything for those that are no codes.
  static uint16x8_t above(vf a, vf b) {
    const uint16x8_t bits = vtrn1q_u16((uint16x8_t)a, (uint16x8_t)b);
    return vaddq_u16(bits, bits);
  }
  static uint16x8_t above(const vf (&moved)[4]) { return vminq_u16(above(moved[0], moved[1]), above(moved[2], moved[3])); }
  // The codes of eight in the lower bytes, but for `back`. What is negative stays so.
  [[gnu::always_inline]] int16x8_t whole(vf a, vf b) const {
    return vmaxq_s16(vqshrn_high_n_s32(vqshrn_n_s32((int32x4_t)a, 15), (int32x4_t)b, 15), low);
  }
  [[gnu::always_inline]] vi bytes(const vf (&moved)[4]) const {
    const int16x8_t a = whole(moved[0], moved[1]), b = whole(moved[2], moved[3]);
#if defined(__ARM_FEATURE_DOTPROD)
    const int8x16_t found = vuzp1q_s8((int8x16_t)a, (int8x16_t)b);
#else  // Cortex-A72 makes three instructions of vuzp1q, each as long as one of these two; clang would make it of them
    int8x8_t first = vmovn_s16(a);
    asm("" : "+w"(first));
    const int8x16_t found = vmovn_high_s16(first, b);
#endif
    return (vi)vaddq_s8(found, (int8x16_t)back);
  }
  [[gnu::always_inline]] bool is_near(uint16x8_t least) const { return vminvq_u16(least) < near; }
};

// Codes of floats over a scale, whose inverse is no 0; false if one lies near a tie or is NaN.
struct Divided {
  Fixed fixed;
  vf inverse;

  // Codes of at most 384 steps: the factor 1 / s, the quotient, the offset and the sum err by less than 2^-13 together.
  Divided(float factor, int64_t zero, int64_t least, int64_t most, bool is_unsigned)
      : fixed(0x1p-13f, zero, least, most, is_unsigned), inverse(splat(factor * Fixed::STEP)) {}
  explicit Divided(const Grid& g) : Divided(g.inverse, g.low < 0 ? g.zero : g.zero - 128, -128, 127, g.low == 0) {}

  [[gnu::always_inline]] bool sixteen(const vf (&value)[4], vi& codes) const {
    float32x4_t most = vdupq_n_f32(0.0f);
    vf found[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) found[j] = moved(value[j], most);
    codes = fixed.bytes(found);
    return is_clear(fixed.above(found), most);
  }
  [[gnu::always_inline]] bool eight(const vf (&value)[2], int8_t* codes) const {
    float32x4_t most = vdupq_n_f32(0.0f);
    const vf a = moved(value[0], most), b = moved(value[1], most);
    vst1_s8(codes, vadd_s8(vmovn_s16(fixed.whole(a, b)), vget_low_s8((int8x16_t)fixed.back)));
    return is_clear(fixed.above(a, b), most);
  }

 private:
  // `most` becomes NaN where one is.
  [[gnu::always_inline]] vf moved(vf value, float32x4_t& most) const {
    const vf found = (vf)vfmaq_f32(*read_again((const float32x4_t*)&fixed.offset), (float32x4_t)value, (float32x4_t)inverse);
    most = vmaxq_f32(most, (float32x4_t)found);
    return found;
  }
  [[gnu::always_inline]] bool is_clear(uint16x8_t least, float32x4_t most) const {
    return !fixed.is_near(vandq_u16(least, (uint16x8_t)vceqq_f32(most, most)));
  }
};

// Codes of sixteen floats, whatever they are.
[[maybe_unused]] inline vi sixteen_codes(const float* x, const Grid& g, const Divided& divided) {
  const vf value[4] = {load(x), load(x + VL), load(x + 2 * VL), load(x + 3 * VL)};
  vi codes;
  if (__builtin_expect(divided.sixteen(value, codes), 1)) return codes;
  int8_t each[16];
  for (int j = 0; j < 4; j++) store_codes(each + j * VL, codes_of(value[j], g));
  return loadi(each);
}

}  // namespace
#endif
