// Max and average pooling in two layouts, one work item per row of the output; sums, maxima and minima over axes.
#include "kernel.h"
#include "shuffle.h"
#include "strides.h"
#include "window.h"

namespace {

// NaN wins, as in NumPy's maximum and minimum.
struct Max {
  static constexpr bool MEAN = false;
  static float start() { return -__builtin_inff(); }
  static vf join(vf a, vf x) { return ((x > a) | (x != x)) ? x : a; }
  static float join(float a, float x) { return x > a || x != x ? x : a; }
};

struct Min {
  static constexpr bool MEAN = false;
  static float start() { return __builtin_inff(); }
  static vf join(vf a, vf x) { return ((x < a) | (x != x)) ? x : a; }
  static float join(float a, float x) { return x < a || x != x ? x : a; }
};

struct Mean {
  static constexpr bool MEAN = true;
  static float start() { return 0.0f; }
  static vf join(vf a, vf x) { return a + x; }
  static float join(float a, float x) { return a + x; }
};

// V vectors of channels of one output position; `rest` channels (less than VL) if V is 0.
template <typename F, int V>
inline void position(const float* x, const Pool* p, Taps ty, Taps tx, float* y, float divisor, int rest) {
  constexpr int N = V ? V : 1;
  vf acc[N];
  for (int v = 0; v < N; v++) acc[v] = splat(F::start());
  for (int64_t i = ty.first; i < ty.last; i++) {
    for (int64_t j = tx.first; j < tx.last; j++) {
      const float* at = x + (i * p->dilation_h * p->w + j * p->dilation_w) * p->c;
      if (!V) acc[0] = F::join(acc[0], load_n(at, rest));
      for (int v = 0; v < V; v++) acc[v] = F::join(acc[v], load(at + v * VL));
    }
  }
  if (F::MEAN)
    for (int v = 0; v < N; v++) acc[v] /= divisor;
  if (!V) store_n(y, acc[0], rest);
  for (int v = 0; v < V; v++) store(y + v * VL, acc[v]);
}

// buf: x [N, H, W, C], y [N, OH, OW, C]. p: Pool. An item is one row of positions.
template <typename F>
inline void pool_nhwc(const ThinCall* call, int64_t begin, int64_t end) {
  const Pool* p = (const Pool*)call->p;
  for (int64_t item = begin; item < end; item++) {
    const int64_t top = item % p->out_h * p->stride_h - p->top;
    const Taps ty = taps_inside(top, p->kernel_h, p->dilation_h, 0, p->h);
    const int64_t rows = counted(top, p->kernel_h, p->dilation_h, p->h, p->top, p->bottom, p->with_pads);
    for (int64_t o = 0; o < p->out_w; o++) {
      const int64_t left = o * p->stride_w - p->left;
      const Taps tx = taps_inside(left, p->kernel_w, p->dilation_w, 0, p->w);
      const float divisor = (float)(rows * counted(left, p->kernel_w, p->dilation_w, p->w, p->left, p->right, p->with_pads));
      const float* x = (const float*)call->buf[0] + ((item / p->out_h * p->h + top) * p->w + left) * p->c;
      float* y = (float*)call->buf[1] + (item * p->out_w + o) * p->c;
      int64_t c = 0;
      for (; c + 4 * VL <= p->c; c += 4 * VL) position<F, 4>(x + c, p, ty, tx, y + c, divisor, 0);
      for (; c + VL <= p->c; c += VL) position<F, 1>(x + c, p, ty, tx, y + c, divisor, 0);
      if (c < p->c) position<F, 0>(x + c, p, ty, tx, y + c, divisor, (int)(p->c - c));
    }
  }
}

template <typename F>
inline void join_row(const float* x, int64_t stride, float* y, int64_t n) {
  int64_t i = 0;
  if (stride == 1)
    for (; i + VL <= n; i += VL) store(y + i, F::join(load(y + i), load(x + i)));
  if (stride == 2)
    for (; i + VL < n; i += VL) store(y + i, F::join(load(y + i), evens(load(x + 2 * i), load(x + 2 * i + VL))));
#if defined(__AVX512F__)
  if (stride == 2 && i < n) {  // of the 2 VL floats, only those up to the last one wanted may be read
    const int rest = (int)(n - i), span = 2 * rest - 1;
    const vf a = load_n(x + 2 * i, span < VL ? span : VL), b = span > VL ? load_n(x + 2 * i + VL, span - VL) : vf{};
    store_n(y + i, F::join(load_n(y + i, rest), evens(a, b)), rest);
    return;
  }
#endif
  for (; i < n; i++) y[i] = F::join(y[i], x[i * stride]);
}

// The output positions of a row that one tap reaches without leaving the input, and where it reads for the first of them.
struct Reach {
  int64_t first, count, from;
};

// buf: x [N·C, H, W], y [N·C, OH, OW]. p: Pool (c is not read). An item is one row of one plane: it is the accumulator, and
// each tap joins a shifted row of x to the part of it that the tap reaches. Scratch: a Reach per column of the window, a
// divisor per position.
template <typename F>
inline void pool_nchw(const ThinCall* call, int64_t begin, int64_t end) {
  const Pool* p = (const Pool*)call->p;
  const int64_t n = p->out_w, s = p->stride_w;
  Reach* reach = (Reach*)call->scratch;
  float* columns = (float*)(reach + p->kernel_w);
  for (int64_t j = 0; j < p->kernel_w; j++) {
    const int64_t shift = j * p->dilation_w - p->left;
    const Taps t = taps_inside(shift, n, s, 0, p->w);  // output positions, seen as taps of a window at `shift`
    reach[j] = {t.first, t.last - t.first, t.first * s + shift};
  }
  if (F::MEAN)
    for (int64_t o = 0; o < n; o++)
      columns[o] = (float)counted(o * s - p->left, p->kernel_w, p->dilation_w, p->w, p->left, p->right, p->with_pads);
  for (int64_t item = begin; item < end; item++) {
    const int64_t top = item % p->out_h * p->stride_h - p->top;
    const Taps ty = taps_inside(top, p->kernel_h, p->dilation_h, 0, p->h);
    float* y = (float*)call->buf[1] + item * n;
    for (int64_t o = 0; o < n; o++) y[o] = F::start();
    for (int64_t i = ty.first; i < ty.last; i++) {
      const float* x = (const float*)call->buf[0] + (item / p->out_h * p->h + top + i * p->dilation_h) * p->w;
      for (int64_t j = 0; j < p->kernel_w; j++) {
        const Reach r = reach[j];
        join_row<F>(x + r.from, s, y + r.first, r.count);
      }
    }
    if (!F::MEAN) continue;
    const float rows = (float)counted(top, p->kernel_h, p->dilation_h, p->h, p->top, p->bottom, p->with_pads);
    for (int64_t o = 0; o < n; o++) y[o] /= rows * columns[o];
  }
}

constexpr int64_t LANES = 64;     // lanes of a work item of the kernels *_lanes
constexpr int64_t SECTION = 128;  // rows or vectors that are joined one after the other

// V vectors of joined columns (one of `rest` lanes if V is 0), by halves, which keeps the rounding errors of sums small.
template <typename F, int V>
void join_lanes(const float* x, int64_t count, int64_t stride, int rest, vf* found) {
  constexpr int N = V ? V : 1;
  if (count > SECTION) {
    vf more[N];
    join_lanes<F, V>(x, count / 2, stride, rest, found);
    join_lanes<F, V>(x + count / 2 * stride, count - count / 2, stride, rest, more);
    for (int v = 0; v < N; v++) found[v] = F::join(found[v], more[v]);
    return;
  }
  vf part[N];
  for (int v = 0; v < N; v++) part[v] = splat(F::start());
  for (int64_t k = 0; k < count; k++) {
    if (!V) part[0] = F::join(part[0], load_n(x + k * stride, rest));
    for (int v = 0; v < V; v++) part[v] = F::join(part[v], load(x + k * stride + v * VL));
  }
  for (int v = 0; v < N; v++) found[v] = part[v];
}

template <typename F, int V>
inline void reduce_columns(const float* x, int64_t count, int64_t stride, float divisor, float* y, int rest) {
  vf found[V ? V : 1];
  join_lanes<F, V>(x, count, stride, rest, found);
  if (!V) store_n(y, found[0] / divisor, rest);
  for (int v = 0; v < V; v++) store(y + v * VL, found[v] / divisor);
}

// n floats joined, spread over lanes; by halves too.
template <typename F>
vf join_row(const float* x, int64_t n) {
  if (n > SECTION * VL) {
    const int64_t half = n / 2 / VL * VL;
    return F::join(join_row<F>(x, half), join_row<F>(x + half, n - half));
  }
  vf part[4];
  for (int v = 0; v < 4; v++) part[v] = splat(F::start());
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    for (int v = 0; v < 4; v++) part[v] = F::join(part[v], load(x + i + v * VL));
  for (; i + VL <= n; i += VL) part[0] = F::join(part[0], load(x + i));
  if (i < n) {
    float lanes[VL];
    store(lanes, splat(F::start()));
    for (int k = 0; k < n - i; k++) lanes[k] = x[i + k];
    part[1] = F::join(part[1], load(lanes));
  }
  return F::join(F::join(part[0], part[1]), F::join(part[2], part[3]));
}

// buf: x [rows, count], y [rows]. p: count, divisor. An item is one row.
template <typename F>
inline void reduce_rows(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t n = call->p[0];
  const float divisor = thin_f32(call->p[1]);
  for (int64_t item = begin; item < end; item++) {
    float lanes[VL];
    store(lanes, join_row<F>((const float*)call->buf[0] + item * n, n));
    for (int width = VL / 2; width > 0; width /= 2)
      for (int k = 0; k < width; k++) lanes[k] = F::join(lanes[k], lanes[k + width]);
    ((float*)call->buf[1])[item] = lanes[0] / divisor;
  }
}

// buf: x [outer, count, inner], y [outer, inner]. p: count, inner, divisor. An item is LANES lanes of one outer index.
template <typename F>
inline void reduce_lanes(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t count = call->p[0], inner = call->p[1], blocks = (inner + LANES - 1) / LANES;
  const float divisor = thin_f32(call->p[2]);
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item / blocks * count * inner;
    float* y = (float*)call->buf[1] + item / blocks * inner;
    int64_t i = item % blocks * LANES;
    const int64_t stop = smaller(inner, i + LANES);
    for (; i + 4 * VL <= stop; i += 4 * VL) reduce_columns<F, 4>(x + i, count, inner, divisor, y + i, 0);
    for (; i + VL <= stop; i += VL) reduce_columns<F, 1>(x + i, count, inner, divisor, y + i, 0);
    if (i < stop) reduce_columns<F, 0>(x + i, count, inner, divisor, y + i, (int)(stop - i));
  }
}

}  // namespace

THIN_KERNEL(max_pool_nhwc) { pool_nhwc<Max>(call, begin, end); }
THIN_KERNEL(max_pool_nchw) { pool_nchw<Max>(call, begin, end); }
THIN_KERNEL(average_pool_nhwc) { pool_nhwc<Mean>(call, begin, end); }
THIN_KERNEL(average_pool_nchw) { pool_nchw<Mean>(call, begin, end); }

THIN_KERNEL(sum_rows) { reduce_rows<Mean>(call, begin, end); }
THIN_KERNEL(sum_lanes) { reduce_lanes<Mean>(call, begin, end); }
THIN_KERNEL(max_rows) { reduce_rows<Max>(call, begin, end); }
THIN_KERNEL(max_lanes) { reduce_lanes<Max>(call, begin, end); }
THIN_KERNEL(min_rows) { reduce_rows<Min>(call, begin, end); }
THIN_KERNEL(min_lanes) { reduce_lanes<Min>(call, begin, end); }
