// Max and average pooling in two layouts; one work item per row of the output.
#include "fold.h"
#include "kernel.h"
#include "shuffle.h"
#include "strides.h"
#include "window.h"

namespace {

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

}  // namespace

THIN_KERNEL(max_pool_nhwc) { pool_nhwc<Max>(call, begin, end); }
THIN_KERNEL(max_pool_nchw) { pool_nchw<Max>(call, begin, end); }
THIN_KERNEL(average_pool_nhwc) { pool_nhwc<Mean>(call, begin, end); }
THIN_KERNEL(average_pool_nchw) { pool_nchw<Mean>(call, begin, end); }
