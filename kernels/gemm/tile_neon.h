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

// Columns [k, k + 4).
template <int R>
[[gnu::always_inline]] inline void add_four(vf (&sum)[R][HALF], const float* const (&x)[R], int64_t k, const float* w) {
  vf values[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) values[r] = load(x[r] + k);
  add_column<R, 0>(sum, values, w);
  add_column<R, 1>(sum, values, w);
  add_column<R, 2>(sum, values, w);
  add_column<R, 3>(sum, values, w);
}

// BITS: of indices, that are looked up meanwhile; 0: none are.
template <int R, int BITS>
[[gnu::always_inline]] inline void multiply(vf (&sum)[R][HALF], const Tile& t, const float* w) {
  const float* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) x[r] = t.x + r * t.ldx;
  int64_t k = 0;
  if constexpr (BITS > 0) {
    Ahead& ahead = *t.next;
    const Numbers<BITS> numbers = {ahead.words, (char*)ahead.out};
    const float* table = ahead.table;
    uint64_t i = ahead.done;
    const uint64_t steps = (uint64_t)t.n / 4, stop = ahead.all - i < steps ? ahead.all : i + steps;
    for (; i < stop; i++, k += 4, w += 4 * PANEL) {
      numbers.look(i, table);
      add_four<R>(sum, x, k, w);
    }
    ahead.done = stop;
  }
  for (; k + 4 <= t.n; k += 4, w += 4 * PANEL) add_four<R>(sum, x, k, w);
  for (; k < t.n; k++, w += PANEL)
#pragma GCC unroll 2
    for (int i = 0; i < HALF; i++) {
      const vf column = load(w + i * VL);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum[r][i] += column * x[r][k];
    }
}

constexpr float NOTHING_YET[HALF * VL] = {};

// Columns [at, at + 8) of the panel; EDGE: some of them do not exist in y. What the tile says is read before y is written (compilers would
// read it again), and a vector is written as soon as it is clamped, so that stores do not wait for the last of them.
template <int R, bool EDGE, int BITS>
[[gnu::always_inline]] inline void half_panel(const Tile& t, int at, bool plain) {
  vf sum[R][HALF];
  const int left = t.columns - at;
  const int64_t ldy = t.ldy;
  float* const y = t.y + at;
  const vf low = splat(t.low), high = splat(t.high);
  if (t.first) {
    const float* begin = plain ? t.bias + at : NOTHING_YET;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int i = 0; i < HALF; i++) sum[r][i] = load(begin + i * VL);
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int i = 0; i < HALF; i++) sum[r][i] = EDGE ? read_y(y + r * ldy + i * VL, left - i * VL) : load(y + r * ldy + i * VL);
  }
  multiply<R, BITS>(sum, t, t.w + at);
  const auto write = [&](int r, int i, vf value) __attribute__((always_inline)) {
    if (EDGE) write_y(y + r * ldy + i * VL, value, left - i * VL);
    else store(y + r * ldy + i * VL, value);
  };
  if (!t.last) {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
      for (int i = 0; i < HALF; i++) write(r, i, sum[r][i]);
    asm volatile("");  // compilers would have both ends share their last stores, which would then wait for all that is before
    return;
  }
  if (!plain)
#pragma GCC unroll 2
    for (int i = 0; i < HALF; i++) {
      const vf scale = splat(t.alpha) * (t.scale ? load(t.scale + at + i * VL) : splat(1)), bias = load(t.bias + at + i * VL);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) sum[r][i] = sum[r][i] * scale + bias;
    }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int i = 0; i < HALF; i++) write(r, i, clamped(sum[r][i], low, high));
}

constexpr int LEAST_AHEAD = 6;  // rows whose multiply-adds leave room

template <int R>
[[gnu::noinline]] void look_ahead(const Tile& t, int at, bool plain) {
  t.next->with_bits([&](auto bits) { half_panel<R, false, bits>(t, at, plain); });
}

template <int R>
void panel(const Tile& t) {
  const bool plain = is_plain(t);
  int at = 0;
  for (; at + HALF * VL <= t.columns; at += HALF * VL) {
    if constexpr (R >= LEAST_AHEAD)
      if (t.next && t.next->done < t.next->all) {
        look_ahead<R>(t, at, plain);
        continue;
      }
    half_panel<R, false, 0>(t, at, plain);
  }
  if (at < t.columns) half_panel<R, true, 0>(t, at, plain);
}

template <int R>
inline void rows_of(int rows, const Tile& t) {
  if (rows == R) panel<R>(t);
  else if constexpr (R > 1) rows_of<R - 1>(rows, t);
}

template <int>
inline void panels_of(int, int rows, const Tile& t) {
  rows_of<MR>(rows, t);
}

}  // namespace
