// Softmax and its logarithm over one axis, shifted by the maximum so that no exponential overflows.
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

// The first n floats, 0 < n <= VL.
inline vf some(const float* p, int n) { return n == VL ? load(p) : load_n(p, n); }
inline void put(float* p, vf v, int n) {
  if (n == VL)
    store(p, v);
  else
    store_n(p, v, n);
}

// What is left to do with e^(x - max), or with LOG with x - max, once the sum of the former is known.
template <bool LOG>
inline vf scaled(vf v, vf total) {
  return LOG ? v - total : v / total;
}

// The first n lanes of v, `other` in the rest.
inline vf keep_n(vf v, int n, float other) {
  vi lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < n ? v : splat(other);
}

// buf: x, y, both [rows, n]. p: n. An item is one row. A NaN, or +Inf, anywhere makes the whole row NaN: it passes the maximum
// or not, but x - max and then the sum are NaN in either case. LOG: the logarithm of the result, ln(e^(x - max) / sum).
template <bool LOG>
inline void softmax_row(const ThinCall* call, int64_t begin, int64_t end) {
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
      const vf d = load(x + i) - shift, e = exp_of(d);
      store(y + i, LOG ? d : e);
      sum += e;
    }
    if (rest) {
      const vf d = load_n(x + whole, rest) - shift, e = exp_of(d);
      store_n(y + whole, LOG ? d : e, rest);
      sum += keep_n(e, rest, 0.0f);
    }
    const vf total = splat(fold_sum(sum)), less = LOG ? log_of(total) : total;
    for (int64_t i = 0; i < whole; i += VL) store(y + i, scaled<LOG>(load(y + i), less));
    if (rest) store_n(y + whole, scaled<LOG>(load_n(y + whole, rest), less), rest);
  }
}

// buf: x, y, both [outer, n, inner]. p: n, inner. An item is LANES lanes of one outer index.
template <bool LOG>
inline void softmax_lane(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t n = call->p[0], inner = call->p[1], blocks = (inner + LANES - 1) / LANES;
  for (int64_t item = begin; item < end; item++) {
    const int64_t first = item % blocks * LANES, stop = smaller(inner, first + LANES);
    for (int64_t at = first; at < stop; at += VL) {
      const int lanes = (int)smaller(VL, stop - at);
      const float* x = (const float*)call->buf[0] + item / blocks * n * inner + at;
      float* y = (float*)call->buf[1] + item / blocks * n * inner + at;
      vf most = splat(-__builtin_inff()), sum = vf{};
      for (int64_t k = 0; k < n; k++) most = vmax(some(x + k * inner, lanes), most);
      for (int64_t k = 0; k < n; k++) {
        const vf d = some(x + k * inner, lanes) - most, e = exp_of(d);
        sum += e;
        put(y + k * inner, LOG ? d : e, lanes);
      }
      const vf less = LOG ? log_of(sum) : sum;
      for (int64_t k = 0; k < n; k++) put(y + k * inner, scaled<LOG>(some(y + k * inner, lanes), less), lanes);
    }
  }
}

}  // namespace

THIN_KERNEL(softmax_rows) { softmax_row<false>(call, begin, end); }
THIN_KERNEL(softmax_lanes) { softmax_lane<false>(call, begin, end); }
THIN_KERNEL(log_softmax_rows) { softmax_row<true>(call, begin, end); }
THIN_KERNEL(log_softmax_lanes) { softmax_lane<true>(call, begin, end); }
