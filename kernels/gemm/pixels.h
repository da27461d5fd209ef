// Tiles of a convolution that makes NCHW: pixels of a row in lanes, so that a weight is one number times vectors of activations.
#pragma once

#include "decode.h"

namespace {

// Outputs × vectors of pixels whose sums lie in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS_OUT = 8, ACROSS = 3;
#else
constexpr int ROWS_OUT = 4, ACROSS = 2;
#endif

// ROWS_OUT outputs of a panel, of one row of pixels.
struct PixelTile {
  const float* x;          // first tap of the first pixel; vectors may go past the row's end
  const int64_t* offsets;  // of taps, in floats
  const float* w;          // [K][16], of the first output
  int64_t k, width;
  float* y;
  int64_t ldy;             // floats between outputs
  int outputs;             // that exist
  const float *scale, *bias;
  float low, high;
};

// N vectors of pixels; `last`: pixels of the last one. Sums begin with the bias where nothing scales them.
template <int N>
[[gnu::noinline]] void pixel_tile(const PixelTile& t, const float* from, float* y, int last) {
  vf sum[ROWS_OUT][N];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS_OUT; r++)
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) sum[r][n] = t.scale ? vf{} : splat(t.bias[r]);
  const float* w = t.w;
  for (int64_t k = 0; k < t.k; k++, w += PANEL) {
    const float* x = from + t.offsets[k];
    vf seen[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) seen[n] = load(x + n * VL);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS_OUT; r++)
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sum[r][n] += seen[n] * w[r];
  }
  if (t.scale)
#pragma GCC unroll 8
    for (int r = 0; r < ROWS_OUT; r++)
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) sum[r][n] = sum[r][n] * splat(t.scale[r]) + splat(t.bias[r]);
  const vf low = splat(t.low), high = splat(t.high);
#pragma GCC unroll 8
  for (int r = 0; r < ROWS_OUT; r++) {
    if (r >= t.outputs) break;
    float* to = y + r * t.ldy;
#pragma GCC unroll 4
    for (int n = 0; n < N - 1; n++) store(to + n * VL, clamp(sum[r][n], low, high));
    const vf end = clamp(sum[r][N - 1], low, high);
    if (last == VL) store(to + (N - 1) * VL, end);
    else store_n(to + (N - 1) * VL, end, last);
  }
}

// A row: blocks of nearly as many vectors each.
inline void pixel_row(const PixelTile& t) {
  const int64_t vectors = (t.width + VL - 1) / VL, blocks = (vectors + ACROSS - 1) / ACROSS;
  for (int64_t b = 0; b < blocks; b++) {
    const int64_t first = vectors * b / blocks, count = vectors * (b + 1) / blocks - first, at = first * VL;
    const int64_t rest = t.width - at - (count - 1) * VL;
    const int last = rest < VL ? (int)rest : VL;
    if (count == 3) pixel_tile<3>(t, t.x + at, t.y + at, last);
    else if (count == 2) pixel_tile<2>(t, t.x + at, t.y + at, last);
    else pixel_tile<1>(t, t.x + at, t.y + at, last);
  }
}

}  // namespace
