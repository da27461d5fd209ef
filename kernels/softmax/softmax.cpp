// Softmax over one axis, shifted by the maximum so that no exponential overflows.
#include "kernel.h"
#include "strides.h"
#include "vmath.h"

namespace {

constexpr int64_t LANES = 16;  // lanes of a work item of softmax_lanes

inline float fold_max(vf v) {
  float lanes[VL], most;
  store(lanes, v);
  most = lanes[0];
  for (int i = 1; i < VL; i++) most = lanes[i] > most ? lanes[i] : most;
  return most;
}

inline float fold_sum(vf v) {
  float lanes[VL];
  store(lanes, v);
  for (int width = VL / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

// The first n lanes of v, `other` in the rest.
inline vf keep_n(vf v, int n, float other) {
  vi lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < n ? v : splat(other);
}

}  // namespace

// buf: x, y, both [rows, n]. p: n. An item is one row. A NaN, or +Inf, anywhere makes the whole row NaN: it passes the maximum
// or not, but x - max and then the sum are NaN in either case.
THIN_KERNEL(softmax_rows) {
  const int64_t n = call->p[0], whole = n / VL * VL;
  const int rest = (int)(n - whole);
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item * n;
    float* y = (float*)call->buf[1] + item * n;
    vf most = splat(-__builtin_inff());
    for (int64_t i = 0; i < whole; i += VL) most = vmax(load(x + i), most);
    if (rest) most = vmax(keep_n(load_n(x + whole, rest), rest, -__builtin_inff()), most);
    const float shift = fold_max(most);
    vf sum = vf{};
    for (int64_t i = 0; i < whole; i += VL) {
      const vf e = exp_of(load(x + i) - shift);
      store(y + i, e);
      sum += e;
    }
    if (rest) {
      const vf e = exp_of(load_n(x + whole, rest) - shift);
      store_n(y + whole, e, rest);
      sum += keep_n(e, rest, 0.0f);
    }
    const float total = fold_sum(sum);
    for (int64_t i = 0; i < whole; i += VL) store(y + i, load(y + i) / total);
    if (rest) store_n(y + whole, load_n(y + whole, rest) / total, rest);
  }
}

// buf: x, y, both [outer, n, inner]. p: n, inner. An item is LANES lanes of one outer index.
THIN_KERNEL(softmax_lanes) {
  const int64_t n = call->p[0], inner = call->p[1], blocks = (inner + LANES - 1) / LANES;
  for (int64_t item = begin; item < end; item++) {
    const int64_t first = item % blocks * LANES, stop = smaller(inner, first + LANES);
    for (int64_t at = first; at < stop; at += VL) {
      const int lanes = (int)smaller(VL, stop - at);
      const float* x = (const float*)call->buf[0] + item / blocks * n * inner + at;
      float* y = (float*)call->buf[1] + item / blocks * n * inner + at;
      vf most = splat(-__builtin_inff()), sum = vf{};
      for (int64_t k = 0; k < n; k++) most = vmax(lanes == VL ? load(x + k * inner) : load_n(x + k * inner, lanes), most);
      for (int64_t k = 0; k < n; k++) {
        const vf e = exp_of((lanes == VL ? load(x + k * inner) : load_n(x + k * inner, lanes)) - most);
        sum += e;
        if (lanes == VL)
          store(y + k * inner, e);
        else
          store_n(y + k * inner, e, lanes);
      }
      for (int64_t k = 0; k < n; k++) {
        if (lanes == VL)
          store(y + k * inner, load(y + k * inner) / sum);
        else
          store_n(y + k * inner, load_n(y + k * inner, lanes) / sum, lanes);
      }
    }
  }
}
