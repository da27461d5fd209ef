// Elementwise kernels: y = f(x), one work item per block of floats.
#include "kernel.h"
#include "simd.h"

namespace {
constexpr int64_t BLOCK = 4096;  // floats per work item
}

// buf: x, y. p: number of floats, low, high. y = x clamped to [low, high] (Relu and Clip).
THIN_KERNEL(unary) {
  const float* x = (const float*)call->buf[0];
  float* y = (float*)call->buf[1];
  const vf low = splat(thin_f32(call->p[1])), high = splat(thin_f32(call->p[2]));
  int64_t i = begin * BLOCK;
  const int64_t stop = end * BLOCK < call->p[0] ? end * BLOCK : call->p[0];
  for (; i + VL <= stop; i += VL) store(y + i, clamp(load(x + i), low, high));
  if (i < stop) store_n(y + i, clamp(load_n(x + i, (int)(stop - i)), low, high), (int)(stop - i));
}
