// The planes that a depthwise convolution reads, made one by one: each is what a sparse 1 × 1 convolution makes of x for one channel, so that
// the expanded activations never leave the cache.
#pragma once

#include "../sparse/rows.h"
#include "clamp.h"
#include "taps.h"

namespace {

// Parameters behind PackedParam. Floats of an input plane in memory, and of it in scratch if it is copied there (0: it is read where it lies);
// channels that are expanded together, and floats of one of them in scratch; how the taps are decoded (DECODERS); what activations are clamped to.
// The item that the step's first one is, of all of the convolution; floats from one plane of y to the next, and the row of the output with which
// these begin.
enum ExpandParam { X_PLANE, X_COPY, TOGETHER, PLANE, TAPS, E_LOW, E_HIGH, FIRST, Y_PLANE, Y_ROW };

constexpr int64_t EXPAND_VECTORS = 8;  // whose sums are in registers

struct Expand {
  const RowTiles* m;  // tiles of PANEL rows, one chunk
  const float* x;     // [columns][pitch]
  int64_t pitch;
  const float *scale, *bias;
  vf low, high;
};

template <class Weights, int N>
inline void expand_vectors(const Expand& e, const Weights& weights, int64_t count, vf scale, vf bias, int64_t at, float* y) {
  vf sum[N] = {};
  const auto add = [&](One w) __attribute__((always_inline)) {
    const float* x = e.x + w.column * e.pitch + at;
    const vf value = splat(w.value);
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) sum[n] += value * load(x + n * VL);
  };
  each_weight(weights, count, add);
#pragma GCC unroll 8
  for (int n = 0; n < N; n++) store(y + n * VL, clamped(sum[n] * scale + bias, e.low, e.high));
}

template <class Weights, int N>
inline void expand_some(int n, const Expand& e, const Weights& weights, int64_t count, vf scale, vf bias, int64_t at, float* y) {
  if constexpr (N > 1)
    if (n < N) return expand_some<Weights, N - 1>(n, e, weights, count, scale, bias, at, y);
  expand_vectors<Weights, N>(e, weights, count, scale, bias, at, y);
}

// Positions [begin, end), whole vectors, of channel `row`, whose weights are `count` from `first` on.
template <class Weights>
void expand_plane(const Expand& e, int64_t first, int64_t count, int64_t row, int64_t begin, int64_t end, float* y) {
  const Weights weights(e.m, first, row);
  const vf scale = splat(e.scale[row]), bias = splat(e.bias[row]);
  const int64_t vectors = (end - begin) / VL, blocks = (vectors + EXPAND_VECTORS - 1) / EXPAND_VECTORS;
  if (!blocks) return;
  const int64_t least = vectors / blocks, larger = vectors % blocks;  // blocks of nearly equal size; dividing takes longer than a small one
  for (int64_t b = 0, from = 0, to; b < blocks; b++, from = to) {
    to = from + least + (b < larger);
    expand_some<Weights, EXPAND_VECTORS>((int)(to - from), e, weights, count, scale, bias, begin + from * VL, y + from * VL);
  }
}

}  // namespace
