// Whole words of a row's codes times a panel of 16 outputs by the dot products of ARMv8.2.
#pragma once

#include "dot.h"

#if defined(__ARM_FEATURE_DOTPROD)
namespace {

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
[[gnu::always_inline]] inline int64_t add_words(vi (&sum)[R][4], const int8_t* from, int64_t ldx, const int8_t* w, int64_t words, vi flip) {
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

}  // namespace
#endif
