// z = f(x, y) with broadcasting, and per-channel scale and shift; one work item per block of a row.
#include "clamp.h"
#include "kernel.h"
#include "simd.h"
#include "strides.h"

namespace {

struct Add {
  static vf of(vf x, vf y) { return x + y; }
};
struct Sub {
  static vf of(vf x, vf y) { return x - y; }
};
struct Mul {
  static vf of(vf x, vf y) { return x * y; }
};
struct Div {
  static vf of(vf x, vf y) { return x / y; }
};
// NaN where one of both is NaN.
struct Max {
  static vf of(vf x, vf y) { return x == x ? (x > y ? x : y) : x; }
};
struct Min {
  static vf of(vf x, vf y) { return x == x ? (x < y ? x : y) : x; }
};
struct PRelu {
  static vf of(vf x, vf y) { return x < 0.0f ? x * y : x; }
};

// STEP_X, STEP_Y: 1 where the operand moves along the row, 0 where one float serves all of it.
template <typename F, int STEP_X, int STEP_Y>
inline void row(const float* x, const float* y, float* z, int64_t n, vf low, vf high) {
  const vf x0 = splat(*x), y0 = splat(*y);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(z + i, clamped(F::of(STEP_X ? load(x + i) : x0, STEP_Y ? load(y + i) : y0), low, high));
  if (i == n) return;
  const int rest = (int)(n - i);
  store_n(z + i, clamped(F::of(STEP_X ? load_n(x + i, rest) : x0, STEP_Y ? load_n(y + i, rest) : y0), low, high), rest);
}

// Any strides: an operand of lower rank than the other lies across the row of a channels-last result.
template <typename F>
inline void strided_row(const float* x, int64_t dx, const float* y, int64_t dy, float* z, int64_t n, vf low, vf high) {
  for (int64_t i = 0; i < n; i += VL) {
    const int count = (int)smaller(VL, n - i);
    float xs[VL] = {0}, ys[VL] = {0};
    for (int k = 0; k < count; k++) {
      xs[k] = x[(i + k) * dx];
      ys[k] = y[(i + k) * dy];
    }
    const vf value = clamped(F::of(load(xs), load(ys)), low, high);
    if (count == VL)
      store(z + i, value);
    else
      store_n(z + i, value, count);
  }
}

// buf: x, y, z. p: floats per row, floats per item, strides of x and y along a row, low, high, then the outer
// dimensions (strides.h) of x and y. z is contiguous.
template <typename F>
inline void binary(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t n = call->p[0], block = call->p[1], dx = call->p[2], dy = call->p[3];
  const vf low = splat(thin_f32(call->p[4])), high = splat(thin_f32(call->p[5]));
  const int64_t blocks = (n + block - 1) / block;
  Walk<2> walk(call->p + 6, begin / blocks);
  float* z = (float*)call->buf[2] + begin / blocks * n;
  int64_t part = begin % blocks;
  for (int64_t item = begin; item < end; item++) {
    const int64_t start = part * block, count = smaller(block, n - start);
    const float* x = (const float*)call->buf[0] + walk.at[0] + start * dx;
    const float* y = (const float*)call->buf[1] + walk.at[1] + start * dy;
    if (dx == 1 && dy == 1)
      row<F, 1, 1>(x, y, z + start, count, low, high);
    else if (dx == 1 && dy == 0)
      row<F, 1, 0>(x, y, z + start, count, low, high);
    else if (dx == 0 && dy == 1)
      row<F, 0, 1>(x, y, z + start, count, low, high);
    else
      strided_row<F>(x, dx, y, dy, z + start, count, low, high);
    if (++part == blocks) {
      part = 0;
      z += n;
      walk.next();
    }
  }
}

}  // namespace

THIN_KERNEL(add) { binary<Add>(call, begin, end); }
THIN_KERNEL(sub) { binary<Sub>(call, begin, end); }
THIN_KERNEL(mul) { binary<Mul>(call, begin, end); }
THIN_KERNEL(div) { binary<Div>(call, begin, end); }
THIN_KERNEL(max) { binary<Max>(call, begin, end); }
THIN_KERNEL(min) { binary<Min>(call, begin, end); }
THIN_KERNEL(prelu) { binary<PRelu>(call, begin, end); }

// buf: x, scale, shift, y. p: channels, positions, low, high. x and y are [rows, channels, positions]; an item is one
// channel of one row. y = scale x + shift (BatchNormalization in NCHW).
THIN_KERNEL(scale_shift_planes) {
  const int64_t channels = call->p[0], n = call->p[1];
  const vf low = splat(thin_f32(call->p[2])), high = splat(thin_f32(call->p[3]));
  for (int64_t item = begin; item < end; item++) {
    const vf scale = splat(((const float*)call->buf[1])[item % channels]), shift = splat(((const float*)call->buf[2])[item % channels]);
    const float* x = (const float*)call->buf[0] + item * n;
    float* y = (float*)call->buf[3] + item * n;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) store(y + i, clamped(load(x + i) * scale + shift, low, high));
    if (i < n) store_n(y + i, clamped(load_n(x + i, (int)(n - i)) * scale + shift, low, high), (int)(n - i));
  }
}

// buf: x, scale, shift, y. p: channels, low, high. x and y are [rows, channels]; an item is one row (BatchNormalization
// in NHWC).
THIN_KERNEL(scale_shift_rows) {
  const int64_t n = call->p[0];
  const vf low = splat(thin_f32(call->p[1])), high = splat(thin_f32(call->p[2]));
  const float *scale = (const float*)call->buf[1], *shift = (const float*)call->buf[2];
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item * n;
    float* y = (float*)call->buf[3] + item * n;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) store(y + i, clamped(load(x + i) * load(scale + i) + load(shift + i), low, high));
    if (i == n) continue;
    const int rest = (int)(n - i);
    store_n(y + i, clamped(load_n(x + i, rest) * load_n(scale + i, rest) + load_n(shift + i, rest), low, high), rest);
  }
}
