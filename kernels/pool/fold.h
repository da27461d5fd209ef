// How elements are joined to one.
#pragma once

#include "simd.h"

namespace {

// NaN wins, as in NumPy's maximum and minimum.
struct Max {
  static constexpr bool MEAN = false;
  static float start() { return -__builtin_inff(); }
  static vf join(vf a, vf x) { return ((x > a) | (x != x)) ? x : a; }
  static float join(float a, float x) { return x > a || x != x ? x : a; }
};

struct Min {
  static constexpr bool MEAN = false;
  static float start() { return __builtin_inff(); }
  static vf join(vf a, vf x) { return ((x < a) | (x != x)) ? x : a; }
  static float join(float a, float x) { return x < a || x != x ? x : a; }
};

struct Mean {
  static constexpr bool MEAN = true;
  static float start() { return 0.0f; }
  static vf join(vf a, vf x) { return a + x; }
  static float join(float a, float x) { return a + x; }
};

}  // namespace
