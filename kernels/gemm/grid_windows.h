// One row of x times windows of affine codes, packed as for the kernels *_tiles: a place finds its input in the window of x, a code its weight.
#pragma once

#include "layer.h"
#include "tiles.h"

namespace {

// Sums of a panel. Runs of a scale hold whole windows, of 2^PLACE_BITS inputs: a table that places look up.
template <int PLACE_BITS, class Runs>
void grid_windows(const char* base, int64_t panel, const float* x, const Runs& runs, float* out) {
  constexpr int64_t LENGTH = 1 << PLACE_BITS;
  const int64_t *h = (const int64_t*)base, n = h[T_COLUMNS], most = h[T_N], run = h[T_RUN];
  Words places(base + h[T_PLACES_AT] + panel * h[T_PLACES_BYTES], PLACE_BITS, 0);
  Words codes(base + h[T_HELD_AT] + panel * h[T_HELD_BYTES], (int)h[T_BITS], 0);
  float last[LENGTH] = {};  // a whole window of what is left in the end
  vf total[NV] = {};
  for (int64_t k = 0; k < n; k += LENGTH) {
    const int64_t left = n - k, count = left < most ? left : most, r = k / run;
    for (int64_t i = 0; left < LENGTH && i < left; i++) last[i] = x[k + i];
    const Table<PLACE_BITS> window(left < LENGTH ? last : x + k, nullptr, 0);
    vf sum[NV] = {}, zero[NV];
    for (int v = 0; v < NV; v++) zero[v] = h[T_ZEROS_AT] ? runs.zero(r, v) : splat((float)h[T_ZERO]);
    for (int64_t s = 0; s < count; s++, places.next(), codes.next())
      for (int v = 0; v < NV; v++)
        sum[v] += (__builtin_convertvector(codes.read(v), vf) - zero[v]) * window(places.read(v));
    for (int v = 0; v < NV; v++) total[v] += sum[v] * runs.scale(r, v);
  }
  for (int v = 0; v < NV; v++) store(out + v * VL, total[v]);
}

}  // namespace
