// The micro-kernel where the last panel of a tile holds at most 8 outputs. AVX-512: two columns of it share a vector, lanes 2i and 2i + 1 hold
// those of output i, and are added up at the end. So half a panel takes half the time.
#pragma once

#include "tile.h"

#if defined(__AVX512F__)
namespace {

template <int R, int P>
[[gnu::always_inline]] inline void multiply_half(vf (&sum)[R][P * NV], const Tile& t) {
  const float* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = t.x + r * t.ldx;
  const __m512i pairs = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const float *w = t.w, *half = t.w + (P - 1) * t.ldw;
  vf pair[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) pair[r] = vf{};
  int64_t k = 0;
  for (; k + 2 <= t.n; k += 2) {
    const __m512 next = _mm512_castps256_ps512(_mm256_loadu_ps(half + (k + 1) * PANEL));
    const vf two = (vf)_mm512_permutex2var_ps(_mm512_castps256_ps512(_mm256_loadu_ps(half + k * PANEL)), pairs, next);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      double both;
      __builtin_memcpy(&both, x[r] + k, sizeof both);
      pair[r] += two * (vf)_mm512_set1_pd(both);
    }
#pragma GCC unroll 4
    for (int p = 0; p < P - 1; p++) {
      const vf one = load(w + p * t.ldw + k * PANEL), other = load(w + p * t.ldw + (k + 1) * PANEL);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        sum[r][p] += one * x[r][k];
        sum[r][p] += other * x[r][k + 1];
      }
    }
    if (t.next && k % STEPS == 0) t.next->some();
  }
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    const vf both = pair[r] + (vf)_mm512_movehdup_ps((__m512)pair[r]);
    sum[r][P - 1] += (vf)_mm512_maskz_permutexvar_ps(0xff, evens, (__m512)both);
    if (k == t.n) continue;
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) sum[r][p] += load(w + p * t.ldw + k * PANEL) * x[r][k];
  }
}

}  // namespace
#elif defined(__AVX2__)
namespace {

// Here half a panel is a vector.
template <int R, int P>
[[gnu::always_inline]] inline void multiply_half(vf (&sum)[R][P * NV], const Tile& t) {
  static_assert(P == 1 && NV == 2, "a tile is one panel of two vectors");
  const float* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = t.x + r * t.ldx;
  for (int64_t k = 0; k < t.n; k++) {
    const vf column = load(t.w + k * PANEL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sum[r][0] += column * x[r][k];
  }
}

}  // namespace
#endif
