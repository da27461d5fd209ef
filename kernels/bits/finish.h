// From exact sums to outputs: y = clamp(float(sum) · ((x scale · weight scale) · alpha) + bias), every operation rounded once.
#pragma once

#include "kernel.h"

namespace {

struct Finish {
  float x_scale, alpha, low, high;
  const float *scale, *bias;  // bias: null where there is none
  float* y;

  void operator()(int64_t row, int32_t sum) const {
    float factor = x_scale * scale[row];
    factor = factor * alpha;
    float value = (float)sum * factor;
    __asm__("" : "+m"(value));  // keeps the product from being fused with the addition
    if (bias) value += bias[row];
    value = value < low ? low : value;
    y[row] = value > high ? high : value;
  }
};

}  // namespace
