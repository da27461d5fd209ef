// From exact sums to outputs: y = clamp(float(sum) · ((x scale · weight scale) · alpha) + bias), every operation rounded once.
#pragma once

#include "apart.h"
#include "kernel.h"
#include "simd.h"

namespace {

struct Finish {
  float x_scale, alpha, low, high;
  const float *scale, *bias;  // bias: null where there is none
  float* y;

  // The n <= VL rows from `row` on.
  void operator()(int64_t row, vi sums, int n) const {
    const vf factor = apart(x_scale * (n == VL ? load(scale + row) : load_n(scale + row, n))) * alpha;
    vf value = apart(__builtin_convertvector(sums, vf) * apart(factor));
    if (bias) value += n == VL ? load(bias + row) : load_n(bias + row, n);
    value = clamp(value, splat(low), splat(high));
    if (n == VL) store(y + row, value);
    else store_n(y + row, value, n);
  }
};

}  // namespace
