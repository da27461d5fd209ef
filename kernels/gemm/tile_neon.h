// The micro-kernel of 64-bit ARM: up to 8 rows of x × half a panel, 16 sums. NEON multiplies by a lane, so x is read four columns at a
// time, one register per row; with two registers of weights, 26 of 32 are in use and the loads (0.25 per multiply-add) hide behind the
// multiply-adds. Half a panel, since outputs come in eights (24, 40): no sums are spent on a half that does not exist.
#pragma once

#include "clamp.h"
#include "tile.h"

namespace {

constexpr int MR = 8, NP = 1, HALF = 2;  // rows; panels of a block; vectors of half a panel

// Column LANE of the four that `x` holds: its weights times x, added to the sums.
template <int R, int LANE>
[[gnu::always_inline]] inline void add_column(vf (&sum)[R][HALF], const vf (&x)[R], const float* w) {
#pragma GCC unroll 2
  for (int i = 0; i < HALF; i++) {
    const float32x4_t column = (float32x4_t)load(w + LANE * PANEL + i * VL);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r][i] = (vf)vfmaq_laneq_f32((float32x4_t)sum[r][i], column, (float32x4_t)x[r], LANE);
  }
}

template <int R>
[[gnu::always_inline]] inline void multiply(vf (&sum)[R][HALF], const Tile& t, const float* w) {
  const float* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) x[r] = t.x + r * t.ldx;
  int64_t k = 0;
  for (; k + 4 <= t.n; k += 4, w += 4 * PANEL) {
    vf values[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) values[r] = load(x[r] + k);
    add_column<R, 0>(sum, values, w);
    add_column<R, 1>(sum, values, w);
    add_column<R, 2>(sum, values, w);
    add_column<R, 3>(sum, values, w);
  }
  for (; k < t.n; k++, w += PANEL)
#pragma GCC unroll 2
    for (int i = 0; i < HALF; i++) {
      const vf column = load(w + i * VL);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum[r][i] += column * x[r][k];
    }
}

// Columns [at, at + 8) of the panel, as far as they exist in y.
template <int R, bool EDGE>
void half_panel(const Tile& t, int at) {
  vf sum[R][HALF];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int i = 0; i < HALF; i++) {
      const float* y = t.y + r * t.ldy + at + i * VL;
      sum[r][i] = t.first ? vf{} : EDGE ? read_y(y, t.columns - at - i * VL) : load(y);
    }
  multiply<R>(sum, t, t.w + at);
  const vf low = splat(t.low), high = splat(t.high);
#pragma GCC unroll 2
  for (int i = 0; i < HALF; i++) {
    vf scale = splat(t.alpha), bias = vf{};
    if (t.last) bias = load(t.bias + at + i * VL);
    if (t.last && t.scale) scale *= load(t.scale + at + i * VL);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      float* y = t.y + r * t.ldy + at + i * VL;
      const vf done = t.last ? clamped(sum[r][i] * scale + bias, low, high) : sum[r][i];
      if (EDGE) write_y(y, done, t.columns - at - i * VL);
      else store(y, done);
    }
  }
}

template <int R>
inline void rows_of(int rows, const Tile& t, int at) {
  if (rows == R) t.columns - at < HALF * VL ? half_panel<R, true>(t, at) : half_panel<R, false>(t, at);
  else if constexpr (R > 1) rows_of<R - 1>(rows, t, at);
}

template <int>
inline void panels_of(int, int rows, const Tile& t) {
  for (int at = 0; at < t.columns; at += HALF * VL) rows_of<MR>(rows, t, at);
}

}  // namespace
