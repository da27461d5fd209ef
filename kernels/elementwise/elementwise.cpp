// y = f(x), one work item per block of floats.
#include "kernel.h"
#include "vmath.h"

namespace {

constexpr int64_t BLOCK = 4096;  // floats per work item

template <typename F>
inline void map(const ThinCall* call, int64_t begin, int64_t end, F f) {
  const float* x = (const float*)call->buf[0];
  float* y = (float*)call->buf[1];
  int64_t i = begin * BLOCK;
  const int64_t stop = end * BLOCK < call->p[0] ? end * BLOCK : call->p[0];
  for (; i + VL <= stop; i += VL) store(y + i, f(load(x + i)));
  if (i < stop) store_n(y + i, f(load_n(x + i, (int)(stop - i))), (int)(stop - i));
}

}  // namespace

// Every kernel here: buf x, y; p[0] the number of floats.

// p: n, low, high. y = x clamped to [low, high] (Relu and Clip).
THIN_KERNEL(clamp) {
  const vf low = splat(thin_f32(call->p[1])), high = splat(thin_f32(call->p[2]));
  map(call, begin, end, [=](vf x) { return clamp(x, low, high); });
}

THIN_KERNEL(sigmoid) { map(call, begin, end, sigmoid_of); }

THIN_KERNEL(tanh) { map(call, begin, end, tanh_of); }

// p: n, alpha, beta. y = clamp(alpha x + beta, 0, 1).
THIN_KERNEL(hard_sigmoid) {
  const vf alpha = splat(thin_f32(call->p[1])), beta = splat(thin_f32(call->p[2]));
  map(call, begin, end, [=](vf x) { return clamp(alpha * x + beta, vf{}, splat(1.0f)); });
}

// y = x clamp(x / 6 + 1/2, 0, 1).
THIN_KERNEL(hard_swish) {
  map(call, begin, end, [](vf x) { return x * clamp(x * (1.0f / 6.0f) + 0.5f, vf{}, splat(1.0f)); });
}
