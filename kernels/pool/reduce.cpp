// Sums, maxima and minima over axes that lie side by side in memory.
#include "fold.h"
#include "kernel.h"
#include "shuffle.h"
#include "strides.h"
#include "vmath.h"

namespace {

constexpr int64_t LANES = 64;     // lanes of a work item of the kernels *_lanes
constexpr int64_t SECTION = 128;  // rows or vectors that are joined one after the other

// What is joined of each element. Each leaves 0 alone, which fills a sum's unused lanes.
struct Itself {
  static vf of(vf x) { return x; }
};
struct Square {
  static vf of(vf x) { return x * x; }
};
struct Size {
  static vf of(vf x) { return abs_of(x); }
};

// What is done in the end: division, or with `root` a root.
struct Last {
  float divisor;
  bool root;
  explicit Last(const int64_t* p) : divisor(thin_f32(p[0])), root(p[1] != 0) {}
  vf of(vf x) const { return root ? sqrt_of(x) : x / divisor; }
};

// V vectors of joined columns (one of `rest` lanes if V is 0), by halves, which keeps the rounding errors of sums small.
template <typename F, typename T, int V>
void join_lanes(const float* x, int64_t count, int64_t stride, int rest, vf* found) {
  constexpr int N = V ? V : 1;
  if (count > SECTION) {
    vf more[N];
    join_lanes<F, T, V>(x, count / 2, stride, rest, found);
    join_lanes<F, T, V>(x + count / 2 * stride, count - count / 2, stride, rest, more);
    for (int v = 0; v < N; v++) found[v] = F::join(found[v], more[v]);
    return;
  }
  vf part[N];
  for (int v = 0; v < N; v++) part[v] = splat(F::start());
  for (int64_t k = 0; k < count; k++) {
    if (!V) part[0] = F::join(part[0], T::of(load_n(x + k * stride, rest)));
    for (int v = 0; v < V; v++) part[v] = F::join(part[v], T::of(load(x + k * stride + v * VL)));
  }
  for (int v = 0; v < N; v++) found[v] = part[v];
}

template <typename F, typename T, int V>
inline void reduce_columns(const float* x, int64_t count, int64_t stride, Last last, float* y, int rest) {
  vf found[V ? V : 1];
  join_lanes<F, T, V>(x, count, stride, rest, found);
  if (!V) store_n(y, last.of(found[0]), rest);
  for (int v = 0; v < V; v++) store(y + v * VL, last.of(found[v]));
}

// The first n lanes of x, those of `others` in the rest.
inline vf first_n(vf x, int n, vf others) {
  vi lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < n ? x : others;
}

// n floats joined, spread over lanes; by halves too.
template <typename F, typename T>
vf join_row(const float* x, int64_t n) {
  if (n > SECTION * VL) {
    const int64_t half = n / 2 / VL * VL;
    return F::join(join_row<F, T>(x, half), join_row<F, T>(x + half, n - half));
  }
  vf part[4];
  for (int v = 0; v < 4; v++) part[v] = splat(F::start());
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    for (int v = 0; v < 4; v++) part[v] = F::join(part[v], T::of(load(x + i + v * VL)));
  for (; i + VL <= n; i += VL) part[0] = F::join(part[0], T::of(load(x + i)));
  if (i < n) part[1] = F::join(part[1], first_n(T::of(load_n(x + i, (int)(n - i))), (int)(n - i), splat(F::start())));
  return F::join(F::join(part[0], part[1]), F::join(part[2], part[3]));
}

// buf: x [rows, count], y [rows]. p: count, divisor, root. An item is one row.
template <typename F, typename T>
inline void reduce_rows(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t n = call->p[0];
  const Last last(call->p + 1);
  const float* x = (const float*)call->buf[0];
  float* y = (float*)call->buf[1];
  for (int64_t item = begin; item < end; item += VL) {
    const int rows = (int)smaller(end - item, VL);
    vf joined[VL];
    for (int r = 0; r < VL; r++) joined[r] = r < rows ? join_row<F, T>(x + (item + r) * n, n) : vf{};
    transpose(joined);  // lane k of every row side by side
    for (int width = VL / 2; width > 0; width /= 2)
      for (int k = 0; k < width; k++) joined[k] = F::join(joined[k], joined[k + width]);
    if (rows == VL)
      store(y + item, last.of(joined[0]));
    else
      store_n(y + item, last.of(joined[0]), rows);
  }
}

// buf: x [outer, count, inner], y [outer, inner]. p: count, inner, divisor, root. An item is LANES lanes of one outer index.
template <typename F, typename T>
inline void reduce_lanes(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t count = call->p[0], inner = call->p[1], blocks = (inner + LANES - 1) / LANES;
  const Last last(call->p + 2);
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item / blocks * count * inner;
    float* y = (float*)call->buf[1] + item / blocks * inner;
    int64_t i = item % blocks * LANES;
    const int64_t stop = smaller(inner, i + LANES);
    for (; i + 4 * VL <= stop; i += 4 * VL) reduce_columns<F, T, 4>(x + i, count, inner, last, y + i, 0);
    for (; i + VL <= stop; i += VL) reduce_columns<F, T, 1>(x + i, count, inner, last, y + i, 0);
    if (i < stop) reduce_columns<F, T, 0>(x + i, count, inner, last, y + i, (int)(stop - i));
  }
}

}  // namespace

THIN_KERNEL(sum_rows) { reduce_rows<Mean, Itself>(call, begin, end); }
THIN_KERNEL(sum_lanes) { reduce_lanes<Mean, Itself>(call, begin, end); }
THIN_KERNEL(max_rows) { reduce_rows<Max, Itself>(call, begin, end); }
THIN_KERNEL(max_lanes) { reduce_lanes<Max, Itself>(call, begin, end); }
THIN_KERNEL(min_rows) { reduce_rows<Min, Itself>(call, begin, end); }
THIN_KERNEL(min_lanes) { reduce_lanes<Min, Itself>(call, begin, end); }
THIN_KERNEL(sum_sizes_rows) { reduce_rows<Mean, Size>(call, begin, end); }
THIN_KERNEL(sum_sizes_lanes) { reduce_lanes<Mean, Size>(call, begin, end); }
THIN_KERNEL(sum_squares_rows) { reduce_rows<Mean, Square>(call, begin, end); }
THIN_KERNEL(sum_squares_lanes) { reduce_lanes<Mean, Square>(call, begin, end); }
