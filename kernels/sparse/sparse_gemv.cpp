// y = W x for a sparse W in sell16: the rows of a slice in lanes, x gathered; one work item per 4 slices of one row of x.
#include "alone.h"
#include "kernel.h"
#include "weights.h"

namespace {

constexpr int64_t SLICES = 4;                    // slices of a work item
constexpr int TOGETHER = VL == 16 ? 4 : VL / 4;  // slices whose gathers are in flight at once, as registers allow

struct Task {
  const Sell* m;
  const float *x, *scale, *bias;
  float* y;
  float low, high;
};

inline void finish(const Task& t, int64_t slice, const vf* acc) {
  float sum[ROWS];
  for (int part = 0; part < PARTS; part++) store(sum + part * VL, acc[part]);
  for (int lane = 0; lane < ROWS; lane++) {
    const int32_t row = t.m->row_of()[slice * ROWS + lane];
    if (row >= 0) t.y[row] = clamp_one(sum[lane] * t.scale[row] + t.bias[row], t.low, t.high);
  }
}

#if !defined(__ARM_NEON)
// Slots that every row of every slice has run without masks; what is left of each slice is masked by its rows' lengths, so
// that a lane without a weight takes nothing from x, be it Inf or NaN.
template <typename Weights, int S>
inline void slices(const Task& t, int64_t first) {
  const Sell* m = t.m;
  vf acc[S][PARTS] = {};
  const float* x[S];
  int64_t start[S], common = INT64_MAX;
  for (int q = 0; q < S; q++) {
    x[q] = t.x + (first + q) / m->slices_per_group * m->columns;
    start[q] = m->start_of()[first + q];
    if (m->full_of()[first + q] < common) common = m->full_of()[first + q];
  }
  for (int64_t s = 0; s < common; s++)
    for (int q = 0; q < S; q++)
      for (int part = 0; part < PARTS; part++) {
        const Lanes w = Weights(m, first + q).lanes(start[q] + s, part * VL);
        acc[q][part] += w.value * gather(x[q], w.column);
      }
  for (int q = 0; q < S; q++) {
    const Weights weights(m, first + q);
    const int32_t* length = m->length_of() + (first + q) * ROWS;
    const int32_t slots = (int32_t)(m->start_of()[first + q + 1] - start[q]);
    for (int32_t s = (int32_t)common; s < slots; s++) {
      for (int part = 0; part < PARTS; part++) {
        const Lanes w = weights.lanes(start[q] + s, part * VL);
        const vf more = acc[q][part] + w.value * gather(x[q], w.column);
        acc[q][part] = loadi(length + part * VL) > s ? more : acc[q][part];
      }
    }
    finish(t, first + q, acc[q]);
  }
}
#else
// Adds four rows' weights of a slot, each to its own sum: inputs that are gathered into a vector take an instruction more each.
template <typename Weights>
[[gnu::always_inline]] inline void add_slot(const Weights& weights, int64_t slot, int lane, const float* x, float* sum) {
  const Lanes w = weights.lanes(slot, lane);
#pragma GCC unroll 4
  for (int i = 0; i < VL; i++) sum[i] = alone(sum[i] + x[(uint32_t)w.column[i]] * w.value[i]);
}

template <typename Weights, int>
inline void slices(const Task& t, int64_t slice) {
  const Sell* m = t.m;
  const Weights weights(m, slice);
  const float* x = t.x + slice / m->slices_per_group * m->columns;
  const int64_t start = m->start_of()[slice], slots = m->start_of()[slice + 1] - start, full = m->full_of()[slice];
  const int32_t* length = m->length_of() + slice * ROWS;
  float sum[ROWS] = {};
  int64_t s = 0;
  for (; s < full && s < slots; s++)
#pragma GCC unroll 4
    for (int lane = 0; lane < ROWS; lane += VL) add_slot(weights, start + s, lane, x, sum + lane);
  for (; s < slots; s++)
    for (int lane = 0; lane < ROWS; lane += VL) {
      float more[VL];
      for (int i = 0; i < VL; i++) more[i] = sum[lane + i];
      add_slot(weights, start + s, lane, x, more);
      for (int i = 0; i < VL; i++) sum[lane + i] = length[lane + i] > s ? more[i] : sum[lane + i];
    }
  vf all[PARTS];
  for (int part = 0; part < PARTS; part++) all[part] = load(sum + part * VL);
  finish(t, slice, all);
}
#endif

// buf: packed weight, x, scale, bias, y. p: low, high, floats from one row of x to the next, the same of y. scale and bias
// have one float per output row.
template <typename Weights>
inline void gemv(const ThinCall* call, int64_t begin, int64_t end) {
  const Sell* m = (const Sell*)call->buf[0];
  const int64_t items = (m->slices + SLICES - 1) / SLICES;
  for (int64_t item = begin; item < end; item++) {
    const int64_t row = item / items;
    const Task t = {m, (const float*)call->buf[1] + row * call->p[2], (const float*)call->buf[2], (const float*)call->buf[3],
                    (float*)call->buf[4] + row * call->p[3], thin_f32(call->p[0]), thin_f32(call->p[1])};
    int64_t slice = item % items * SLICES;
    const int64_t stop = slice + SLICES < m->slices ? slice + SLICES : m->slices;
    for (; slice + TOGETHER <= stop; slice += TOGETHER) slices<Weights, TOGETHER>(t, slice);
    for (; slice < stop; slice++) slices<Weights, 1>(t, slice);
  }
}

struct Gemv {
  const ThinCall* call;
  int64_t begin, end;
  template <typename Weights>
  void operator()(Of<Weights>) const {
    gemv<Weights>(call, begin, end);
  }
};

}  // namespace

THIN_KERNEL(sparse_gemv_f32) { with_index<PlainF32>((const Sell*)call->buf[0], Gemv{call, begin, end}); }
THIN_KERNEL(sparse_gemv_f16) { with_index<PlainF16>((const Sell*)call->buf[0], Gemv{call, begin, end}); }
THIN_KERNEL(sparse_gemv_binary) { with_signs((const Sell*)call->buf[0], Gemv{call, begin, end}); }
THIN_KERNEL(sparse_gemv_codebook) { with_codebook((const Sell*)call->buf[0], Gemv{call, begin, end}); }
