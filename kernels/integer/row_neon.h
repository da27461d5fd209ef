// Floats and codes of 8 or 16 sums of a row on 64-bit NEON, step by step.
#pragma once

#include "clamp.h"
#include "fixed_neon.h"

#if defined(__aarch64__)
namespace {

struct RowNeon {
  vf floor, ceiling;
  Divided grid;
  bool adds, to_floats, to_codes, clamps;

  // 4 V outputs; false if one lies near a tie or is NaN.
  template <int V>
  [[gnu::always_inline]] bool row(const vi (&sums)[V], const float* m, const float* bias, float* y, int8_t* codes, const float* addend) const {
    vf value[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; j++) {
      const vf product = apart(__builtin_convertvector(sums[j], vf) * load(m + j * VL));
      value[j] = product + load(bias + j * VL);
    }
    if (adds)
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) value[j] += load(addend + j * VL);
    if (clamps)
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) value[j] = clamped(value[j], floor, ceiling);
    if (to_floats)
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) store(y + j * VL, value[j]);
    if (!to_codes) return true;
    if constexpr (V == 2) return grid.eight(value, codes);
    else {
      vi bytes;
      const bool is_clear = grid.sixteen(value, bytes);
      storei(codes, bytes);
      return is_clear;
    }
  }
};

}  // namespace
#endif
