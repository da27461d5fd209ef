// Y = W X for a sparse W in sell16 and many positions (columns of X): each weight multiplies vectors of positions.
#include "columns.h"
#include "kernel.h"
#include "weights.h"

namespace {

constexpr int R = VL == 16 ? 4 : 2;  // rows whose sums are in registers at once
constexpr int V = 4;                 // vectors of positions, likewise

// A block of positions as the inner loops see it: vector v of input k is at x[k * stride + v * VL], except for the last
// vector, which is at `last`: it may overlap the one before, so that it ends where the positions end.
struct Block {
  const float* x;
  int64_t stride, vectors, last;
  int64_t first, count, overlap;  // positions of the image; floats of the last vector that the one before has already
};

// Where results go: row r, position i of the block at y[(r - first_row) * stride + i].
struct Out {
  float* y;
  int64_t stride, first_row;
  const float *scale, *bias;
  vf low, high;
};

// A vector of results that is cut off or overlaps.
inline void put(float* y, const Block& b, int64_t vector, vf value) {
  if (vector < b.vectors - 1 || b.overlap == 0) {
    store_n(y + vector * VL, value, (int)smaller(VL, b.count - vector * VL));
    return;
  }
  float lanes[VL];
  store(lanes, value);
  for (int i = (int)b.overlap; i < VL; i++) y[b.last + i] = lanes[i];
}

// N vectors from `vector` on, of M rows from `lane` on.
template <typename Weights, int M, int N>
inline void rows(const Sell* m, int64_t slice, int lane, const Block& b, int64_t vector, const Out& out) {
  const Weights weights(m, slice);
  const int64_t start = m->start_of()[slice];
  const int32_t* length = m->length_of() + slice * ROWS + lane;
  const float* x = b.x + vector * VL;
  const int64_t last = vector + N == b.vectors ? b.last - vector * VL : (N - 1) * VL;
  int32_t common = length[0];
  for (int r = 1; r < M; r++) common = length[r] < common ? length[r] : common;
  vf acc[M][N] = {};
  for (int64_t s = 0; s < common; s++) {
    for (int r = 0; r < M; r++) {
      const One w = weights.one(start + s, lane + r);
      const float* column = x + w.column * b.stride;
      const vf weight = splat(w.value);
      for (int v = 0; v < N - 1; v++) acc[r][v] += weight * load(column + v * VL);
      acc[r][N - 1] += weight * load(column + last);
    }
  }
  for (int r = 0; r < M; r++) {
    for (int64_t s = common; s < length[r]; s++) {
      const One w = weights.one(start + s, lane + r);
      const float* column = x + w.column * b.stride;
      const vf weight = splat(w.value);
      for (int v = 0; v < N - 1; v++) acc[r][v] += weight * load(column + v * VL);
      acc[r][N - 1] += weight * load(column + last);
    }
  }
  const bool whole = (vector + N) * VL <= b.count;  // no vector is cut off or overlaps
  for (int r = 0; r < M; r++) {
    const int32_t row = m->row_of()[slice * ROWS + lane + r];
    float* y = out.y + (row - out.first_row) * out.stride;
    const vf scale = splat(out.scale[row]), bias = splat(out.bias[row]);
    for (int v = 0; v < N; v++) {
      const vf result = clamp(acc[r][v] * scale + bias, out.low, out.high);
      if (whole)
        store(y + (vector + v) * VL, result);
      else
        put(y, b, vector + v, result);
    }
  }
}

template <typename Weights, int N>
inline void slice_part(const Sell* m, int64_t slice, const Block& b, int64_t vector, const Out& out) {
  const int32_t* row = m->row_of() + slice * ROWS;
  for (int lane = 0; lane < ROWS && row[lane] >= 0; lane += R) {
    if (row[lane + R - 1] >= 0) {
      rows<Weights, R, N>(m, slice, lane, b, vector, out);
      continue;
    }
    for (int r = 0; r < R && row[lane + r] >= 0; r++) rows<Weights, 1, N>(m, slice, lane + r, b, vector, out);
  }
}

template <typename Weights>
inline void slice_block(const Sell* m, int64_t slice, const Block& b, const Out& out) {
  int64_t vector = 0;
  for (; vector + V <= b.vectors; vector += V) slice_part<Weights, V>(m, slice, b, vector, out);
  const int64_t rest = b.vectors - vector;
  if (rest == 3) slice_part<Weights, 3>(m, slice, b, vector, out);
  if (rest == 2) slice_part<Weights, 2>(m, slice, b, vector, out);
  if (rest == 1) slice_part<Weights, 1>(m, slice, b, vector, out);
}

inline Block direct_block(const Geometry* g, const float* x, int64_t first, int64_t count) {
  const int64_t vectors = (count + VL - 1) / VL, overlap = vectors * VL - count;
  return {x + first, g->positions, vectors, (vectors - 1) * VL - overlap, first, count, overlap};
}

inline Block find_block(const Geometry* g, const float* x, int64_t first, float* scratch) {
  const int64_t count = smaller(g->block, g->positions - first), vectors = (count + VL - 1) / VL;
  if (g->direct && (count % VL == 0 || first + count >= VL)) return direct_block(g, x, first, count);
  gather_columns(x, g, first, count, scratch);
  return {scratch, g->block, vectors, (vectors - 1) * VL, first, count, 0};
}

// buf: packed weight, x, scale, bias, y. p: Geometry. scale and bias have one float per output row. Scratch: K × block floats
// and, where outputs lie side by side in y (y_channel 1), window × 16 × block floats, in which they are made before they are
// transposed into y. Items are (image, block of positions, window of slices), windows fastest, so that a block is brought
// into scratch once.
template <typename Weights>
inline void spmm(const ThinCall* call, int64_t begin, int64_t end) {
  const Sell* m = (const Sell*)call->buf[0];
  const Geometry* g = (const Geometry*)call->p;
  const int64_t blocks = (g->positions + g->block - 1) / g->block, groups = m->slices / m->slices_per_group;
  const int64_t windows = (m->slices_per_group + g->window - 1) / g->window;  // of a group
  float* scratch = (float*)call->scratch;
  float* tile = scratch + m->columns * g->block;
  int64_t held = -1;  // what scratch holds: number of block and group
  Block b = {};
  for (int64_t item = begin; item < end; item++) {
    const int64_t key = item / windows, group = key % groups, image = key / groups / blocks, first = key / groups % blocks * g->block;
    if (key != held) {
      b = find_block(g, (const float*)call->buf[1] + image * g->x_image + group * g->channels * g->x_channel, first, scratch);
      held = key;
    }
    const int64_t from = item % windows * g->window, to = smaller(m->slices_per_group, from + g->window);
    const int64_t first_row = group * g->outputs + from * ROWS, rows = smaller(g->outputs - from * ROWS, (to - from) * ROWS);
    float* y = (float*)call->buf[4] + image * g->y_image + first * g->y_position;
    const bool tiled = g->y_position != 1;
    const Out out = {tiled ? tile : y, tiled ? g->block : g->y_channel, tiled ? first_row : 0, (const float*)call->buf[2],
                     (const float*)call->buf[3], splat(thin_f32(g->low)), splat(thin_f32(g->high))};
    for (int64_t slice = from; slice < to; slice++) slice_block<Weights>(m, group * m->slices_per_group + slice, b, out);
    if (tiled) scatter_rows(tile, g->block, y + first_row, g->y_position, b.count, rows);
  }
}

struct Spmm {
  const ThinCall* call;
  int64_t begin, end;
  template <typename Weights>
  void operator()(Of<Weights>) const {
    spmm<Weights>(call, begin, end);
  }
};

}  // namespace

THIN_KERNEL(sparse_spmm_f32) { with_index<PlainF32>((const Sell*)call->buf[0], Spmm{call, begin, end}); }
THIN_KERNEL(sparse_spmm_f16) { with_index<PlainF16>((const Sell*)call->buf[0], Spmm{call, begin, end}); }
THIN_KERNEL(sparse_spmm_binary) { with_signs((const Sell*)call->buf[0], Spmm{call, begin, end}); }
THIN_KERNEL(sparse_spmm_codebook) { with_codebook((const Sell*)call->buf[0], Spmm{call, begin, end}); }
