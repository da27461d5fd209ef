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

// p: n, alpha. y = x, times alpha where it is negative.
THIN_KERNEL(leaky_relu) {
  const vf alpha = splat(thin_f32(call->p[1]));
  map(call, begin, end, [=](vf x) { return x < 0.0f ? alpha * x : x; });
}

// p: n, above, below, inner. y = above x where x > 0, else below (e^(inner x) - 1): Elu, Selu and Celu.
THIN_KERNEL(elu) {
  const vf above = splat(thin_f32(call->p[1])), below = splat(thin_f32(call->p[2])), inner = splat(thin_f32(call->p[3]));
  map(call, begin, end, [=](vf x) { return x > 0.0f ? above * x : below * expm1_of(inner * x); });
}

// p: n, alpha. y = x / (1 + e^(-alpha x)).
THIN_KERNEL(swish) {
  const vf alpha = splat(thin_f32(call->p[1]));
  map(call, begin, end, [=](vf x) { return x * sigmoid_of(alpha * x); });
}

// y = x (1 + erf(x / sqrt 2)) / 2.
THIN_KERNEL(gelu) {
  map(call, begin, end, [](vf x) {
    const vf tail = 0.5f * erfc_of(abs_of(x) * 0.70710678118654752f);
    return x * (x > 0.0f ? 1.0f - tail : tail);
  });
}

// y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as a sigmoid of twice the argument, which does not cancel below 0.
THIN_KERNEL(gelu_tanh) {
  map(call, begin, end, [](vf x) { return x * sigmoid_of(1.5957691216057308f * (x + 0.044715f * x * x * x)); });
}

// y = x tanh(ln(1 + e^x)): with e = e^x and n = e (e + 2), the tanh is n / (n + 2), which is 1 from x = 20 on.
THIN_KERNEL(mish) {
  map(call, begin, end, [](vf x) {
    const vf e = exp_of(vmin(x, splat(20.0f))), n = e * (e + 2.0f);
    return x * (n / (n + 2.0f));
  });
}

THIN_KERNEL(softplus) { map(call, begin, end, softplus_of); }

THIN_KERNEL(softsign) {
  map(call, begin, end, [](vf x) { return x / (1.0f + abs_of(x)); });
}

// p: n, alpha. y = x where it is above alpha, else 0.
THIN_KERNEL(threshold) {
  const vf alpha = splat(thin_f32(call->p[1]));
  map(call, begin, end, [=](vf x) { return x > alpha ? x : vf{}; });
}

THIN_KERNEL(abs) { map(call, begin, end, abs_of); }

THIN_KERNEL(neg) {
  map(call, begin, end, [](vf x) { return -x; });
}

THIN_KERNEL(sqrt) { map(call, begin, end, sqrt_of); }

THIN_KERNEL(exp) { map(call, begin, end, exp_of); }

THIN_KERNEL(log) { map(call, begin, end, log_of); }

THIN_KERNEL(erf) { map(call, begin, end, erf_of); }

THIN_KERNEL(round) { map(call, begin, end, round_of); }

THIN_KERNEL(floor) { map(call, begin, end, floor_of); }

THIN_KERNEL(ceil) {
  map(call, begin, end, [](vf x) { return -floor_of(-x); });
}

// p: n, twice the size of the exponent, 1 if it is negative. y = x to that power, by squaring, and by a root for a half.
THIN_KERNEL(power) {
  const int64_t whole = call->p[1] / 2, half = call->p[1] % 2, inverse = call->p[2];
  map(call, begin, end, [=](vf x) {
    // Powers that are no integers take -0 for 0 and -Inf for Inf.
    vf base = half ? (x == -__builtin_inff() ? splat(__builtin_inff()) : x + 0.0f) : x;
    vf y = half ? sqrt_of(base) : splat(1.0f);
    for (int64_t k = whole; k > 0; k /= 2) {
      if (k % 2) y = y * base;
      base = base * base;
    }
    return inverse ? 1.0f / y : y;
  });
}
