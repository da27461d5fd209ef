// Y = W X for a sparse W in tiles of rows and many positions (columns of X): each weight multiplies vectors of positions.
#include "columns.h"
#include "kernel.h"
#include "rows.h"

namespace {

constexpr int V = 8;  // vectors of positions whose sums are in registers

// A block of positions: those of input k at x[k * stride].
struct Block {
  const float* x;
  int64_t stride, count;
};

// Where results go: row r, position i at y[r * stride + i]. `sums`: those of the chunks so far, row r of the tile at sums[r * block].
struct Out {
  float* y;
  int64_t stride;
  float* sums;
  int64_t block;
  const float *scale, *bias;
  vf low, high;
};

// N vectors of each row on the list, `last` floats in the last one. FIRST, LAST: of the chunks.
template <class Weights, int N, bool FIRST, bool LAST>
void rows(const RowTiles* m, const RowOfChunk* list, int64_t listed, int64_t weight, int64_t row0, const float* x, int64_t stride, int last,
          const Out& out) {
  for (int64_t l = 0; l < listed; l++) {
    const int64_t row = list[l].row, count = list[l].count;
    const Weights weights(m, weight, row0 + row);
    weight += count;
    vf sum[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) sum[n] = FIRST ? vf{} : load(out.sums + row * out.block + n * VL);
    for (int64_t i = 0; i < count; i++) {
      const One w = weights.at(i);
      const float* at = x + w.column * stride;
      const vf value = splat(w.value);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) sum[n] += value * load(at + n * VL);
    }
    if (!LAST) {
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) store(out.sums + row * out.block + n * VL, sum[n]);
      continue;
    }
    float* y = out.y + row * out.stride;
    const vf scale = splat(out.scale[row]), bias = splat(out.bias[row]);
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) sum[n] = clamp(sum[n] * scale + bias, out.low, out.high);
#pragma GCC unroll 8
    for (int n = 0; n < N - 1; n++) store(y + n * VL, sum[n]);
    if (last == VL) store(y + (N - 1) * VL, sum[N - 1]);
    else store_n(y + (N - 1) * VL, sum[N - 1], last);
  }
}

template <class Weights, int N>
inline void vectors(int n, bool first, bool final, const RowTiles* m, const RowOfChunk* list, int64_t listed, int64_t weight, int64_t row0,
                    const float* x, int64_t stride, int last, const Out& out) {
  if (n < N) {
    if constexpr (N > 1) vectors<Weights, N - 1>(n, first, final, m, list, listed, weight, row0, x, stride, last, out);
  } else if (first && final) {
    rows<Weights, N, true, true>(m, list, listed, weight, row0, x, stride, last, out);
  } else if (first) {
    rows<Weights, N, true, false>(m, list, listed, weight, row0, x, stride, last, out);
  } else if (final) {
    rows<Weights, N, false, true>(m, list, listed, weight, row0, x, stride, last, out);
  } else {
    rows<Weights, N, false, false>(m, list, listed, weight, row0, x, stride, last, out);
  }
}

// One tile of rows × one block of positions: chunk after chunk, so that the inputs of a chunk stay in L1 for all of the rows.
template <class Weights>
void tile(const RowTiles* m, int64_t index, int64_t row0, const Block& b, const Out& out) {
  const StartOfChunk* start = (const StartOfChunk*)(m->base() + m->starts) + index * m->chunks;
  const RowOfChunk* list = (const RowOfChunk*)(m->base() + m->lists);
  for (int64_t chunk = 0; chunk < m->chunks; chunk++, start++) {
    const float* x = b.x + chunk * m->chunk * b.stride;
    for (int64_t at = 0; at < b.count; at += V * VL) {
      const int64_t count = smaller(b.count - at, V * VL), n = (count + VL - 1) / VL;
      Out part = out;
      part.y += at;
      part.sums += at;
      vectors<Weights, V>((int)n, chunk == 0, chunk == m->chunks - 1, m, list + start->row, start[1].row - start->row, start->weight, row0, x + at,
                          b.stride, (int)(count - (n - 1) * VL), part);
    }
  }
}

// buf: packed weight, x, scale, bias, y. p: Geometry. scale and bias have one float per output row. Scratch: inputs of a block, where
// these cannot be read in place, [columns][block]; sums of a tile [tile][block] where there are several chunks; results [tile][block]
// where outputs lie side by side in y, which are then transposed into it. Items are (image, block of positions, group, tile), tiles
// fastest, so that a block is brought into scratch once.
template <class Weights>
void spmm(const ThinCall* call, int64_t begin, int64_t end) {
  const RowTiles* m = (const RowTiles*)call->buf[0];
  const Geometry* g = (const Geometry*)call->p;
  const int64_t blocks = (g->positions + g->block - 1) / g->block;
  float* scratch = (float*)call->scratch;
  float* sums = scratch + (g->direct ? 0 : m->columns * g->block);
  float* results = sums + (m->chunks > 1 ? m->tile * g->block : 0);
  int64_t held = -1;  // what scratch holds: number of block and group
  Block b = {};
  for (int64_t item = begin; item < end; item++) {
    const int64_t key = item / m->tiles_per_group, part = item % m->tiles_per_group;
    const int64_t group = key % g->groups, image = key / g->groups / blocks, first = key / g->groups % blocks * g->block;
    if (key != held) {
      const float* x = (const float*)call->buf[1] + image * g->x_image + group * g->channels * g->x_channel;
      b = {g->direct ? x + first : scratch, g->direct ? g->positions : g->block, smaller(g->block, g->positions - first)};
      if (!g->direct) gather_columns(x, g, first, b.count, scratch);
      held = key;
    }
    const int64_t row0 = group * m->rows + part * m->tile, rows = smaller(m->tile, m->rows - part * m->tile);
    const bool tiled = g->y_position != 1;
    float* y = (float*)call->buf[4] + image * g->y_image + row0 * g->y_channel + first * g->y_position;
    const Out out = {tiled ? results : y, tiled ? g->block : g->y_channel, sums, g->block, (const float*)call->buf[2] + row0,
                     (const float*)call->buf[3] + row0, splat(thin_f32(g->low)), splat(thin_f32(g->high))};
    tile<Weights>(m, group * m->tiles_per_group + part, row0, b, out);
    if (tiled) scatter_rows(results, g->block, y, g->y_position, b.count, rows);
  }
}

}  // namespace

THIN_KERNEL(sparse_spmm_f32) { spmm<FloatWeights>(call, begin, end); }
THIN_KERNEL(sparse_spmm_f16) { spmm<HalfWeights>(call, begin, end); }
THIN_KERNEL(sparse_spmm_codebook) { spmm<SymbolWeights>(call, begin, end); }
