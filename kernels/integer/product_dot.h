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

// Adds the first words of R rows, ldx apart, and says how many. FLIPS: `flip` is not 0.
template <int R, bool FLIPS = true>
[[gnu::always_inline]] inline int64_t add_words(vi (&sum)[R][4], const int8_t* from, int64_t ldx, const int8_t* w, int64_t words, vi flip) {
  const int8_t* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = from + r * ldx;
  int64_t k = 0;
  for (; k + 4 <= words; k += 4, w += 256) {
    int8x16_t values[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) values[r] = (int8x16_t)(FLIPS ? loadi(x[r] + 4 * k) ^ flip : loadi(x[r] + 4 * k));
    add_columns<R, 0>(sum, values, w);
    add_columns<R, 1>(sum, values, w);
    add_columns<R, 2>(sum, values, w);
    add_columns<R, 3>(sum, values, w);
  }
  return k;
}

// The last `words` (1 to 4) of R rows, of which the first one ends at `end`; the last `last` (1 to 4) bytes are a word of their own. Rows are 16 bytes or longer.
template <int R>
[[gnu::always_inline]] inline void add_last_words(vi (&sum)[R][4], const int8_t* end, int64_t ldx, const int8_t* w, int64_t words, int64_t last) {
  static const uint8_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8x16_t at = vaddq_u8(vld1q_u8(places), vdupq_n_u8((uint8_t)(20 - 4 * words - last)));
  int8x16_t values[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) values[r] = vqtbl1q_s8(vld1q_s8(end + r * ldx - 16), at);
  add_columns<R, 0>(sum, values, w);
  if (words > 1) add_columns<R, 1>(sum, values, w);
  if (words > 2) add_columns<R, 2>(sum, values, w);
  if (words > 3) add_columns<R, 3>(sum, values, w);
}

}  // namespace
#endif
