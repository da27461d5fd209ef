// Codes of floats in fixed point on 64-bit NEON, 8 or 16 at a time, with one look at how near to ties they lie.
#pragma once

#include "codes.h"
#include "dot.h"

#if defined(__aarch64__)
namespace {

// Floats moved to between 256 and 512, where their lowest bit is 2^-15, are codes in bits 15 to 22, above their distances from the next lower ones.
// What stands above these bits is the same for all of them, less for smaller floats and more for larger ones: bits from 15 on keep their order.
struct Fixed {
  vf offset;             // makes the least code 256, and moves what is near a tie to just above an integer
  uint16x8_t low, high;  // of the codes that may be: bits 15 to 30
  uint16_t near;         // how much of the way to the next code is near a tie, in 2^-16
  vi flip;

  // `width`: how near to a tie is near; the codes are those of int8.
  Fixed(float width, int64_t zero, int64_t least, int64_t most, bool is_unsigned) {
    offset = splat(384.5f + (float)zero + width);
    low = vdupq_n_u16((uint16_t)(FIRST + least));
    high = vdupq_n_u16((uint16_t)(FIRST + most));
    near = (uint16_t)(width * 131072.0f + 2.0f);
    flip = splati(is_unsigned ? 0 : (int32_t)0x80808080);
  }
  // Of eight moved floats, in any order: how far each lies above an integer, in 2^-16. Anything for those that are no codes.
  static uint16x8_t above(vf a, vf b) {
    const uint16x8_t bits = vtrn1q_u16((uint16x8_t)a, (uint16x8_t)b);
    return vaddq_u16(bits, bits);
  }
  static uint16x8_t above(const vf (&moved)[4]) { return vminq_u16(above(moved[0], moved[1]), above(moved[2], moved[3])); }
  // The codes of eight. Negative floats become 0.
  [[gnu::always_inline]] uint16x8_t whole(vf a, vf b) const {
    const uint16x8_t found = vqshrun_high_n_s32(vqshrun_n_s32((int32x4_t)a, 15), (int32x4_t)b, 15);
    return vminq_u16(vmaxq_u16(found, low), high);
  }
  [[gnu::always_inline]] vi bytes(const vf (&moved)[4]) const {
    const uint16x8_t a = whole(moved[0], moved[1]), b = whole(moved[2], moved[3]);
#if defined(__ARM_FEATURE_DOTPROD)
    const uint8x16_t found = vuzp1q_u8((uint8x16_t)a, (uint8x16_t)b);
#else  // Cortex-A72 makes three instructions of vuzp1q, each as long as one of these two; clang would make it of them
    uint8x8_t first = vmovn_u16(a);
    asm("" : "+w"(first));
    const uint8x16_t found = vmovn_high_u16(first, b);
#endif
    return (vi)found ^ flip;
  }
  [[gnu::always_inline]] bool is_near(uint16x8_t least) const { return vminvq_u16(least) < near; }

 private:
  static constexpr int64_t FIRST = (0x43800000 >> 15) + 128;  // of code 0
};

// Codes of floats over a scale, whose inverse is no 0; false if one lies near a tie or is NaN.
struct Divided {
  Fixed fixed;
  vf inverse;

  // Codes of at most 384 steps: the factor 1 / s, the quotient, the offset and the sum err by less than 2^-13 together.
  Divided(float factor, int64_t zero, int64_t least, int64_t most, bool is_unsigned)
      : fixed(0x1p-13f, zero, least, most, is_unsigned), inverse(splat(factor)) {}
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
    vst1_u8((uint8_t*)codes, veor_u8(vmovn_u16(fixed.whole(a, b)), vget_low_u8((uint8x16_t)fixed.flip)));
    return is_clear(fixed.above(a, b), most);
  }

 private:
  // `most` becomes NaN where one is.
  [[gnu::always_inline]] vf moved(vf value, float32x4_t& most) const {
    const vf found = (vf)vfmaq_f32((float32x4_t)fixed.offset, (float32x4_t)value, (float32x4_t)inverse);
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

// Numbers of a table that are read again wherever they are used, as loads cost less than copies of registers.
template <typename T>
[[gnu::always_inline]] inline const T* read_again(const T* p) {
  asm volatile("" : "+r"(p));
  return p;
}

}  // namespace
#endif
