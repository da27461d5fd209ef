// A few rows of activations where vectors have four lanes: four weights of an output, looked up in memory two at a time, multiply four columns of
// each row. Sums of an output lie in a vector of their own, so that no row's bits hang on which others are with it.
#pragma once

#include "decode.h"
#include "pair_table.h"

#if !defined(__AVX2__)
namespace {

#if defined(__aarch64__)
constexpr int ROWS = 8, SUMS = 16;  // of 32 registers
#else
constexpr int ROWS = 4, SUMS = 8;  // of 16
#endif

inline vf side_by_side(const float* low, const float* high) {
#if defined(__ARM_NEON)
  return (vf)vcombine_f32(vld1_f32(low), vld1_f32(high));
#elif defined(__SSE2__)
  return (vf)_mm_loadh_pi(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i*)low)), (const __m64*)high);
#else
  return vf{low[0], low[1], high[0], high[1]};
#endif
}

// Outputs [0, O) of a panel for R rows, over the whole words of a row: their number of columns.
template <int BITS, int R, int O>
inline int64_t few_outputs(const int32_t* w, const vpair* pairs, const float* const (&x)[R], int64_t n, float (*total)[PANEL]) {
  constexpr int PER = per_word(BITS), EACH = 4 * BITS;  // bits of four columns
  constexpr size_t MASK = (1 << (2 * BITS)) - 1;
  constexpr float NOTHING[2] = {};
  vf sum[O][R] = {};
  int64_t k = 0;
  for (; k + PER <= n; k += PER, w += PANEL) {
    size_t words[O / WORD_ROWS];
    for (int i = 0; i < O / WORD_ROWS; i++) words[i] = rows_of_words(w + i * WORD_ROWS);
    const auto pair = [&](int o, int bit) { return (const float*)&pairs[words[o / WORD_ROWS] >> (o % WORD_ROWS * 32 + bit) & MASK]; };
    vf weights[O];
#pragma GCC unroll 8
    for (int j = 0; j < PER / 4; j++) {
#pragma GCC unroll 8
      for (int o = 0; o < O; o++) weights[o] = side_by_side(pair(o, EACH * j), pair(o, EACH * j + 2 * BITS));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const vf at = load(x[r] + k + 4 * j);
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) sum[o][r] += weights[o] * at;
      }
    }
    if constexpr (PER % 4 == 2) {
#pragma GCC unroll 8
      for (int o = 0; o < O; o++) weights[o] = side_by_side(pair(o, EACH * (PER / 4)), NOTHING);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const vf at = side_by_side(x[r] + k + PER - 2, NOTHING);
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) sum[o][r] += weights[o] * at;
      }
    }
  }
  for (int o = 0; o < O; o++)
    for (int r = 0; r < R; r++) total[r][o] = (sum[o][r][0] + sum[o][r][1]) + (sum[o][r][2] + sum[o][r][3]);
  return k;
}

// A panel for `count` rows from x on, R of them or one less: then the last one is summed twice.
template <int BITS, int R>
void few_rows(const Packed& packed, int64_t item, const Pairs<BITS>& pairs, const float* from, int64_t ldx, int64_t n, int count,
              float (*total)[PANEL]) {
  constexpr int O = R <= SUMS / 8 ? 8 : R <= SUMS / 4 ? 4 : 2;
  const int32_t* w = (const int32_t*)packed.panel(item);
  const float* x[R];
  for (int r = 0; r < R; r++) {
    x[r] = from + (r < count ? r : count - 1) * ldx;
    asm("" : "+r"(x[r]));  // compilers would find the last one anew in each turn, divisions and all
  }
  int64_t k = 0;
  for (int o = 0; o < PANEL; o += O) k = few_outputs<BITS, R, O>(w + o, pairs.at, x, n, (float(*)[PANEL])(total[0] + o));
  w += k / per_word(BITS) * PANEL;
  for (int o = 0; o < PANEL && k < n; o++)
    for (int r = 0; r < count; r++) {
      uint32_t word = (uint32_t)w[o];
      for (int64_t i = k; i < n; i++, word >>= BITS) total[r][o] += pairs.table[word & ((1u << BITS) - 1)] * x[r][i];
    }
}

template <int BITS, int R>
inline void few_rows_of(const Packed& packed, int64_t item, const Pairs<BITS>& pairs, const float* from, int64_t ldx, int64_t n, int count,
                        float (*total)[PANEL]) {
  if constexpr (R > 2)
    if (count <= R - 2) return few_rows_of<BITS, R - 2>(packed, item, pairs, from, ldx, n, count, total);
  few_rows<BITS, R>(packed, item, pairs, from, ldx, n, count, total);
}

}  // namespace
#endif
