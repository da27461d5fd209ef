// Codes of sums on 64-bit NEON, the quick way (README.md): fma(sum, m / s, bias / s + offset), in fixed point. Sums that are begun (begun.py) are
// the bits of floats already, whose base the bias takes away again.
#pragma once

#include "finish.h"

#if defined(__aarch64__)
namespace {

enum Begun { AS_THEY_ARE, BASED, FOLDED };  // begun.py

// Sums as floats, in 2^-8; those of FOLDED lie above them by what the bias takes away.
template <int BEGUN>
[[gnu::always_inline]] inline vf float_of(vi sum) {
  return BEGUN == FOLDED ? (vf)sum : BEGUN == BASED ? (vf)sum - splat(0x1.8p15f) : (vf)vcvtq_n_f32_s32((int32x4_t)sum, 8);
}

struct QuickNeon : Fixed {
  int8_t* codes;
  int64_t ld;

  // F_NEAR allows for the errors of fma(sum, m / s, bias / s) and those of the exact way. Here bias / s is rounded once more, numbers of at most
  // 512 steps are so three times, 2^-16 at most, and begun.py's bias may be off by 2^-14: a quarter of that allowance, and 7 * 2^-16.
  explicit QuickNeon(const Finish& f)
      : Fixed(1.25f * (0.5f - thin_f32(f.p[F_NEAR])) + 0x1p-13f, f.p[F_ZERO], f.p[F_CODE_LOW], f.p[F_CODE_HIGH], f.flags & UNSIGNED),
        codes(f.codes), ld(f.ld) {}

  // Codes of four vectors of sums as floats, `least`: the smallest distance above an integer. `bias` has the offset in it.
  [[gnu::always_inline]] vi bytes_of(const vf (&sum)[4], const vf (&m)[4], const float* bias, uint16x8_t& least) const {
    vf moved[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) moved[i] = (vf)vfmaq_f32((float32x4_t)load(bias + i * VL), (float32x4_t)sum[i], (float32x4_t)m[i]);
    least = above(moved);
    return bytes(moved);
  }
  [[gnu::always_inline]] vi bytes_of(const vf (&sum)[4], const float* m, const float* bias, uint16x8_t& least) const {
    const vf factors[4] = {load(m), load(m + VL), load(m + 2 * VL), load(m + 3 * VL)};
    return bytes_of(sum, factors, bias, least);
  }
};

}  // namespace
#endif
