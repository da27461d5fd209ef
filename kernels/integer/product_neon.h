// Whole words of a row's codes times a panel of 16 outputs on NEON: by dot products, or by pairs of products that are added in 16 bits.
#pragma once

#include "dot.h"

#if defined(__ARM_NEON)
namespace {

#if defined(__ARM_FEATURE_DOTPROD)
// Four columns of a panel, whose codes are word LANE of the sixteen that `x` holds.
template <int R, int LANE>
[[gnu::always_inline]] inline void add_columns(vi (&sum)[R][4], const int8x16_t (&x)[R], const int8_t* w) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const int8x16_t column = vld1q_s8(w + (LANE * 4 + i) * 16);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r][i] = (vi)vdotq_laneq_s32((int32x4_t)sum[r][i], column, x[r], LANE);
  }
}

// Adds the first words of R rows, ldx apart, and says how many.
template <int R>
[[gnu::always_inline]] inline int64_t add_words(vi (&sum)[R][4], const int8_t* from, int64_t ldx, const int8_t* w, int64_t words, vi flip, bool) {
  const int8_t* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = from + r * ldx;
  int64_t k = 0;
  for (; k + 4 <= words; k += 4, w += 256) {
    int8x16_t values[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) values[r] = (int8x16_t)(loadi(x[r] + 4 * k) ^ flip);
    add_columns<R, 0>(sum, values, w);
    add_columns<R, 1>(sum, values, w);
    add_columns<R, 2>(sum, values, w);
    add_columns<R, 3>(sum, values, w);
  }
  return k;
}
#else
[[gnu::always_inline]] inline int16x8_t two_products(int8x8_t x, int8x8_t w, int8x8_t next_x, int8x8_t next_w) {
  return vmlal_s8(vmull_s8(x, w), next_x, next_w);
}

// The same. Two products fit 16 bits unless all four numbers are -128; `pairs`: no two weights that meet here are (pairs_fit of pack.py).
template <int R>
[[gnu::always_inline]] inline int64_t add_words(vi (&sum)[R][4], const int8_t* from, int64_t ldx, const int8_t* w, int64_t words, vi flip, bool pairs) {
  if (!pairs) return 0;
  int32x4_t low[R][4] = {}, high[R][4] = {};  // two numbers of each output
  int64_t k = 0;
  for (; k + 2 <= words; k += 2, w += 128) {
    int8x16_t x[R][2];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
      for (int i = 0; i < 2; i++) x[r][i] = (int8x16_t)(apart(splati(load_word(from + r * ldx + 4 * (k + i)))) ^ flip);
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
      const int8x16_t a = vld1q_s8(w + 16 * v), b = vld1q_s8(w + 64 + 16 * v);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        low[r][v] = vpadalq_s16(low[r][v], two_products(vget_low_s8(x[r][0]), vget_low_s8(a), vget_low_s8(x[r][1]), vget_low_s8(b)));
        high[r][v] = vpadalq_s16(high[r][v], two_products(vget_high_s8(x[r][0]), vget_high_s8(a), vget_high_s8(x[r][1]), vget_high_s8(b)));
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) sum[r][v] += added_in_pairs(low[r][v], high[r][v]);
  return k;
}
#endif

}  // namespace
#endif
