// Where a pooling window lies over its input.
#pragma once

#include <stdint.h>

namespace {

// Parameters of the pooling kernels, in this order.
struct Pool {
  int64_t h, w, c, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left, bottom, right, with_pads;
};

// The taps of one axis that fall inside: [first, last).
struct Taps {
  int64_t first, last;
};

inline int64_t ceil_div(int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

// `start`: where tap 0 lies; inside is [low, high).
inline Taps taps_inside(int64_t start, int64_t taps, int64_t dilation, int64_t low, int64_t high) {
  Taps t;
  t.first = ceil_div(low - start, dilation);
  t.last = ceil_div(high - start, dilation);
  if (t.last > taps) t.last = taps;
  if (t.first > t.last) t.first = t.last;
  return t;
}

// How many taps of an axis an average counts: those inside, or those inside the padded input.
inline int64_t counted(int64_t start, int64_t taps, int64_t dilation, int64_t length, int64_t before, int64_t after, bool with_pads) {
  const Taps t = with_pads ? taps_inside(start, taps, dilation, -before, length + after) : taps_inside(start, taps, dilation, 0, length);
  return t.last - t.first;
}

}  // namespace
