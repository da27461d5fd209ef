// Codes of sums on 64-bit NEON, the quick way (README.md): fma(sum, m / s, bias / s + offset), in fixed point. Seven instructions for four sums.
#pragma once

#include "finish.h"

#if defined(__aarch64__)
namespace {

constexpr int32_t SUM_BITS = 0x4B400000;  // sums within 2^22 that begin with this are the bits of MAGIC + sum

struct QuickNeon : Fixed {
  int8_t* codes;
  int64_t ld;

  // F_NEAR allows for the errors of fma(sum, m / s, bias / s) and those of the exact way. Here bias / s is rounded once more, and so are
  // numbers of at most 512 three times: a quarter of that allowance, and 3 * 2^-16.
  explicit QuickNeon(const Finish& f)
      : Fixed(1.25f * (0.5f - thin_f32(f.p[F_NEAR])) + 0x1p-14f, f.p[F_ZERO], f.p[F_CODE_LOW], f.p[F_CODE_HIGH], f.flags & UNSIGNED),
        codes(f.codes), ld(f.ld) {}

  // Codes of four vectors of sums; `least` falls to the smallest distance above an integer. `bias` has the offset in it.
  [[gnu::always_inline]] vi bytes_of(const vf (&sum)[4], const vf (&m)[4], const vf (&bias)[4], uint16x8_t& least) const {
    uint32x4_t bits[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) bits[i] = within((vf)vfmaq_f32((float32x4_t)bias[i], (float32x4_t)sum[i], (float32x4_t)m[i]));
    least = vminq_u16(least, vminq_u16(above(bits[0], bits[1]), above(bits[2], bits[3])));
    return (vi)vuzp1q_u8((uint8x16_t)whole(bits[0], bits[1]), (uint8x16_t)whole(bits[2], bits[3])) ^ flip;
  }
};

}  // namespace
#endif
