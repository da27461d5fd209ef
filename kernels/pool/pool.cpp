// Max and average pooling in two layouts; one work item per row of the output.
#include "kernel.h"
#include "shuffle.h"
#include "strides.h"
#include "window.h"

namespace {

// NaN wins, as in NumPy's maximum.
struct Max {
  static constexpr bool MEAN = false;
  static float start() { return -__builtin_inff(); }
  static vf join(vf a, vf x) { return ((x > a) | (x != x)) ? x : a; }
  static float join(float a, float x) { return x > a || x != x ? x : a; }
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

constexpr int64_t LANES = 64;     // lanes of a work item of mean_lanes
constexpr int64_t SECTION = 128;  // rows or vectors that are summed one after the other

// V vectors of column sums (one of `rest` lanes if V is 0), by halves, which keeps rounding errors small.
template <int V>
void lane_sums(const float* x, int64_t count, int64_t stride, int rest, vf* sum) {
  constexpr int N = V ? V : 1;
  if (count > SECTION) {
    vf more[N];
    lane_sums<V>(x, count / 2, stride, rest, sum);
    lane_sums<V>(x + count / 2 * stride, count - count / 2, stride, rest, more);
    for (int v = 0; v < N; v++) sum[v] += more[v];
    return;
  }
  vf part[N];
  for (int v = 0; v < N; v++) part[v] = vf{};
  for (int64_t k = 0; k < count; k++) {
    if (!V) part[0] += load_n(x + k * stride, rest);
    for (int v = 0; v < V; v++) part[v] += load(x + k * stride + v * VL);
  }
  for (int v = 0; v < N; v++) sum[v] = part[v];
}

template <int V>
inline void lane_means(const float* x, int64_t count, int64_t stride, float* y, int rest) {
  vf sum[V ? V : 1];
  lane_sums<V>(x, count, stride, rest, sum);
  if (!V) store_n(y, sum[0] / (float)count, rest);
  for (int v = 0; v < V; v++) store(y + v * VL, sum[v] / (float)count);
}

// The sum of n floats, spread over lanes; by halves too.
vf row_sum(const float* x, int64_t n) {
  if (n > SECTION * VL) {
    const int64_t half = n / 2 / VL * VL;
    return row_sum(x, half) + row_sum(x + half, n - half);
  }
  vf sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    for (int v = 0; v < 4; v++) sum[v] += load(x + i + v * VL);
  for (; i + VL <= n; i += VL) sum[0] += load(x + i);
  if (i < n) sum[1] += load_n(x + i, (int)(n - i));
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

}  // namespace

THIN_KERNEL(max_pool_nhwc) { pool_nhwc<Max>(call, begin, end); }
THIN_KERNEL(max_pool_nchw) { pool_nchw<Max>(call, begin, end); }
THIN_KERNEL(average_pool_nhwc) { pool_nhwc<Mean>(call, begin, end); }
THIN_KERNEL(average_pool_nchw) { pool_nchw<Mean>(call, begin, end); }

// buf: x [rows, count], y [rows]. p: count. An item is one row.
THIN_KERNEL(mean_rows) {
  const int64_t n = call->p[0];
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item * n;
    float lanes[VL];
    store(lanes, row_sum(x, n));
    for (int width = VL / 2; width > 0; width /= 2)
      for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
    ((float*)call->buf[1])[item] = lanes[0] / (float)n;
  }
}

// buf: x [outer, count, inner], y [outer, inner]. p: count, inner. An item is LANES lanes of one outer index.
THIN_KERNEL(mean_lanes) {
  const int64_t count = call->p[0], inner = call->p[1], blocks = (inner + LANES - 1) / LANES;
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item / blocks * count * inner;
    float* y = (float*)call->buf[1] + item / blocks * inner;
    int64_t i = item % blocks * LANES;
    const int64_t stop = smaller(inner, i + LANES);
    for (; i + 4 * VL <= stop; i += 4 * VL) lane_means<4>(x + i, count, inner, y + i, 0);
    for (; i + VL <= stop; i += VL) lane_means<1>(x + i, count, inner, y + i, 0);
    if (i < stop) lane_means<0>(x + i, count, inner, y + i, (int)(stop - i));
  }
}
