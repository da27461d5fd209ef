// The part of the gates that the inputs of steps to come make, x[times][inputs] times W, done beside the product with R: that waits for L2, which
// gives half a vector a cycle, and a vector can be multiplied in one. A tile of two panels of W and all of the times keeps its sums in registers while
// rows of R go by, and takes a column of its own after each few of those.
#pragma once

#include "../gemm/decode.h"

namespace {

// Tiles [FIRST_TILE, LAST_TILE) of W [OUTPUTS, INPUTS] are multiplied in a step; none, but with AVX-512: the other levels lack the registers.
// Buffers: x of the steps to come, [TIMES][INPUTS]; W in panels; the bias by panel; their part of the gates, [TIMES][OUTPUTS].
enum AheadParam { FIRST_TILE, LAST_TILE, TIMES, INPUTS, OUTPUTS };

#if defined(__AVX512F__)
constexpr int MOST_TIMES = 12, TILE_PANELS = 2;  // 24 sums; the four gates of 16 units and what is multiplied take the other registers

// The tiles that the work items of a call have to do.
struct Ahead {
  const int64_t* p;
  const float* x;
  const float* w;
  const float* bias;
  float* parts;
  int64_t tile, end, k;  // k: columns of the tile that are done
  vf sum[MOST_TIMES][TILE_PANELS];

  // Of the work items [begin, end_) of `all`.
  inline Ahead(const int64_t* params, void* const* buf, int64_t begin, int64_t end_, int64_t all) : p(params) {
    const int64_t tiles = p[LAST_TILE] - p[FIRST_TILE];
    tile = p[FIRST_TILE] + tiles * begin / all, end = p[FIRST_TILE] + tiles * end_ / all;
    if (is_done()) return;
    x = (const float*)buf[0], w = (const float*)buf[1], bias = (const float*)buf[2], parts = (float*)buf[3];
    open();
  }
  bool is_done() const { return tile >= end; }

  // Of a tile with but one panel that is done twice.
  int64_t panel(int i) const {
    const int64_t last = (p[OUTPUTS] + PANEL - 1) / PANEL - 1, at = tile * TILE_PANELS + i;
    return at < last ? at : last;
  }
  inline void open() {
    k = 0;
    for (int i = 0; i < TILE_PANELS; i++)
      for (int t = 0; t < MOST_TIMES; t++) sum[t][i] = load(bias + panel(i) * PANEL);
  }
  __attribute__((noinline)) void close() {
    for (int i = 0; i < TILE_PANELS; i++) {
      const int64_t at = panel(i) * PANEL, left = p[OUTPUTS] - at;
      for (int t = 0; t < p[TIMES]; t++) {
        float* to = parts + t * p[OUTPUTS] + at;
        if (left >= VL) store(to, sum[t][i]);
        else store_n(to, sum[t][i], (int)left);
      }
    }
    tile++;
    if (!is_done()) open();
  }

  // So many columns of the tile, each after `before()`.
  template <typename F>
  __attribute__((always_inline)) inline void multiply(int64_t n, F before) {
    vf s[MOST_TIMES][TILE_PANELS];
#pragma GCC unroll 16
    for (int t = 0; t < MOST_TIMES; t++)
#pragma GCC unroll 2
      for (int i = 0; i < TILE_PANELS; i++) s[t][i] = sum[t][i];
    const float* column[TILE_PANELS];
#pragma GCC unroll 2
    for (int i = 0; i < TILE_PANELS; i++) column[i] = w + (panel(i) * p[INPUTS] + k) * PANEL;
    const float* row[MOST_TIMES];
#pragma GCC unroll 16
    for (int t = 0; t < MOST_TIMES; t++) row[t] = x + (t < p[TIMES] ? t : p[TIMES] - 1) * p[INPUTS] + k;
    for (int64_t j = 0; j < n; j++) {
      before();
      vf weights[TILE_PANELS];
#pragma GCC unroll 2
      for (int i = 0; i < TILE_PANELS; i++) weights[i] = load(column[i] + j * PANEL);
#pragma GCC unroll 16
      for (int t = 0; t < MOST_TIMES; t++) {
        const vf value = splat(row[t][j]);
#pragma GCC unroll 2
        for (int i = 0; i < TILE_PANELS; i++) s[t][i] += weights[i] * value;
      }
    }
#pragma GCC unroll 16
    for (int t = 0; t < MOST_TIMES; t++)
#pragma GCC unroll 2
      for (int i = 0; i < TILE_PANELS; i++) sum[t][i] = s[t][i];
    k += n;
    if (k == p[INPUTS]) close();
  }

  // Columns that there were no rows of R for.
  __attribute__((noinline)) void finish() {
    while (!is_done()) multiply(p[INPUTS] - k, []() {});
  }
};
#endif

}  // namespace
