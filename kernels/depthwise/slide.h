// 3 × 3 taps straight from the image, NCHW: a block of columns slides down a channel's rows. Nothing is copied, and padding is shifted in at
// the edges.
#pragma once

#include "clamp.h"
#include "rolling.h"
#include "shuffle.h"

namespace {

#if defined(__AVX2__) || defined(__aarch64__)
constexpr int ABREAST = 2;  // blocks of columns that slide together: more sums in flight
#else
constexpr int ABREAST = 1;
#endif

struct Finish {
  vf bias, low, high;
  int lanes;  // columns of an output that is narrower than a vector
};

// Rows [oh, oh + rows) of one channel's output.
struct Slide {
  const int64_t* p;
  const float *x, *taps;  // the channel's image [H][W]; its taps, PANEL floats apart
  float* y;               // the first of these rows
  int64_t oh, rows;
  const Finish& finish;
};

// The activations of a row that the block's three kernel columns see. `at`: the first one; it lies outside if LEFT, the last one if RIGHT.
template <int S>
[[gnu::always_inline]] inline void columns(vf (&v)[3], const float* at, bool left, bool right) {
  if (S == 1) {
    v[1] = kept(load(at + 1));
    v[0] = kept(left ? moved_up(v[1], vf{}) : load(at));
    v[2] = kept(right ? moved_down(v[1], vf{}) : load(at + 2));
  } else {
    const vf a = left ? moved_up(load(at + 1), vf{}) : load(at), b = load(at + VL);
    v[0] = evens(a, b);
    v[1] = odds(a, b);
    v[2] = moved_down(v[0], right ? vf{} : splat(at[2 * VL]));
  }
}

// N blocks of columns, the last one from `last` on.
template <int N, int S>
[[gnu::noinline]] void slide(const Slide& s, int64_t ow, int64_t last) {
  const int64_t* p = s.p;
  const int64_t width = p[W], out = p[OW], gap = last - ow, top = s.oh * S - p[PH];
  const bool left = ow < p[PW], right = last + VL == out && (out - 1) * S - p[PW] + 2 == width;
  const vf bias = s.finish.bias, low = s.finish.low, high = s.finish.high;
  const float* x = s.x + top * width + ow * S - p[PW];
  float* y = s.y + ow;
  vf w[9], sum[3][N];
#pragma GCC unroll 16
  for (int i = 0; i < 9; i++) w[i] = splat(s.taps[i * PANEL]);
#pragma GCC unroll 4
  for (int i = 0; i < N; i++) sum[0][i] = sum[1][i] = sum[2][i] = bias;
  // Adds row x to the rows of output of which it is kernel row 0, 1, 2: those that are named.
  const auto add = [&](bool to0, bool to1, bool to2) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int i = 0; i < N; i++) {
      vf v[3];
      columns<S>(v, x + i * gap * S, left && i == 0, right && i == N - 1);
#pragma GCC unroll 4
      for (int k = 0; k < 3; k++) {
        if (to0) sum[0][i] += v[k] * w[k];
        if (to1) sum[1][i] += v[k] * w[3 + k];
        if (to2) sum[2][i] += v[k] * w[6 + k];
      }
    }
    x += width;
  };
  const auto write = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int i = 0; i < N; i++) store(y + i * gap, clamped(sum[2][i], low, high));
    y += out;
  };
  const auto next = [&](int from) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int i = 0; i < N; i++) {
      sum[from + 1][i] = sum[from][i];
      if (from == 0) sum[0][i] = bias;
    }
  };
  const bool above = top >= 0, below = top + (s.rows - 1) * S + 2 < p[H];
  roll<S>(s.rows, above, below, add, next, write, [&]() __attribute__((always_inline)) { x += width; });
}

template <int S>
void slide_all(const Slide& s) {
  const int64_t end = s.p[OW] - VL;
  for (int64_t ow = 0;; ow += ABREAST * VL) {
    const int64_t at = ow < end ? ow : end, last = ow + (ABREAST - 1) * VL < end ? ow + (ABREAST - 1) * VL : end;
    if (last > at) slide<ABREAST, S>(s, at, last);
    else slide<1, S>(s, at, at);
    if (last == end) return;
  }
}

// What makes such rows: 3 × 3 with at most one row of padding on each side, an output that fills a vector. Null: it is something else.
inline void (*choose_wide(const int64_t* p))(const Slide& s) {
  if (!rolls(p) || p[OW] < VL) return nullptr;
  return p[SW] == 1 ? slide_all<1> : slide_all<2>;
}

}  // namespace
