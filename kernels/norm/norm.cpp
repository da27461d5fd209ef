// Rows brought to mean 0 and variance 1 (or to mean square 1), then scaled and shifted; one work item per row.
#include "kernel.h"
#include "vmath.h"

namespace {

constexpr int64_t SECTION = 128;  // vectors that are summed one after the other

struct Plain {
  static vf of(vf x, vf) { return x; }
};
struct Squared {
  static vf of(vf x, vf mean) { return (x - mean) * (x - mean); }
};

// The sum of f(x, mean) over n floats, spread over lanes; by halves, which keeps rounding errors small.
template <typename F>
vf lane_sums(const float* x, int64_t n, vf mean) {
  if (n > SECTION * VL) {
    const int64_t half = n / 2 / VL * VL;
    return lane_sums<F>(x, half, mean) + lane_sums<F>(x + half, n - half, mean);
  }
  vf sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    for (int v = 0; v < 4; v++) sum[v] += F::of(load(x + i + v * VL), mean);
  for (; i + VL <= n; i += VL) sum[0] += F::of(load(x + i), mean);
  if (i < n) {
    float lanes[VL];
    store(lanes, mean);  // adds nothing to a sum of squares
    for (int k = 0; k < n - i; k++) lanes[k] = x[i + k];
    sum[1] += F::of(load(lanes), mean);
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <typename F>
inline float mean_of(const float* x, int64_t n, float mean) {
  float lanes[VL];
  store(lanes, lane_sums<F>(x, n, splat(mean)));
  for (int width = VL / 2; width > 0; width /= 2)
    for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
  return lanes[0] / (float)n;
}

}  // namespace

// buf: x [rows, n], scale and bias [cycle, n / run], y [rows, n]. p: n, run, cycle, 1 to take the mean away, epsilon, low, high.
// A float of the parameters serves `run` floats of a row, and row r has those of r % cycle.
THIN_KERNEL(standardize_rows) {
  const int64_t n = call->p[0], run = call->p[1], cycle = call->p[2], centred = call->p[3], count = n / run;
  const float epsilon = thin_f32(call->p[4]);
  const vf low = splat(thin_f32(call->p[5])), high = splat(thin_f32(call->p[6]));
  for (int64_t item = begin; item < end; item++) {
    const float *x = (const float*)call->buf[0] + item * n, *scale = (const float*)call->buf[1] + item % cycle * count;
    const float* bias = (const float*)call->buf[2] + item % cycle * count;
    float* y = (float*)call->buf[3] + item * n;
    const float mean = centred ? mean_of<Plain>(x, n, 0.0f) : 0.0f;
    const float inverse = 1.0f / __builtin_sqrtf(mean_of<Squared>(x, n, mean) + epsilon);
    const vf centre = splat(mean), factor = splat(inverse);
    if (run == 1) {
      int64_t i = 0;
      for (; i + VL <= n; i += VL)
        store(y + i, clamp((load(x + i) - centre) * factor * load(scale + i) + load(bias + i), low, high));
      if (i < n) {
        const int rest = (int)(n - i);
        store_n(y + i, clamp((load_n(x + i, rest) - centre) * factor * load_n(scale + i, rest) + load_n(bias + i, rest), low, high), rest);
      }
      continue;
    }
    for (int64_t c = 0; c < count; c++, x += run, y += run) {
      const vf by = splat(scale[c]), shift = splat(bias[c]);
      int64_t i = 0;
      for (; i + VL <= run; i += VL) store(y + i, clamp((load(x + i) - centre) * factor * by + shift, low, high));
      if (i < run) store_n(y + i, clamp((load_n(x + i, (int)(run - i)) - centre) * factor * by + shift, low, high), (int)(run - i));
    }
  }
}
