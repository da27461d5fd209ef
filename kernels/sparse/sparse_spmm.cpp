// Y = W X for a sparse W in tiles of rows and many positions (columns of X): each weight multiplies vectors of positions.
#include "clamp.h"
#include "columns.h"
#include "kernel.h"
#include "rows.h"

namespace {

constexpr int V = 8;              // vectors of positions whose sums are in registers
constexpr int SPAN = V * VL;      // positions of these
constexpr int64_t ROUND = 16;     // sections of scratch begin at multiples of so many floats

// Where a position reads column k: what lies between two columns, or, of kernels with taps, how far from its own float (a load for each
// weight more, which is worth a fifth of the time where a column is a multiplication).
struct Apart {
  static constexpr bool TABLE = false;
  int64_t stride;
  Apart(int64_t stride_, const int32_t*) : stride(stride_) {}
  int64_t operator[](int64_t column) const { return column * stride; }
};
struct Taps {
  static constexpr bool TABLE = true;
  const int32_t* offset;
  Taps(int64_t, const int32_t* offset_) : offset(offset_) {}
  int64_t operator[](int64_t column) const { return offset[column]; }
};

// A block of positions, whose inputs lie at x. `first`: its first position.
struct Block {
  const float* x;
  int64_t first, count;
};

// Where results go: row r at y + r * stride, its pieces of the span at their places. `sums`: those of the chunks so far, row r of the tile at
// sums[r * SPAN].
struct Out {
  float* y;
  const float* addend;  // lies as y does; null: there is none
  int64_t stride;
  float* sums;
  const float *scale, *bias;
  vf low, high;
  const Piece* pieces;
  int found;
};

// What there is of a row in N vectors.
template <int N>
inline void put(const vf* sum, const Out& out, float* y) {
  alignas(64) float row[SPAN];
#pragma GCC unroll 8
  for (int n = 0; n < N; n++) store(row + n * VL, sum[n]);
  for (int i = 0; i < out.found; i++) copy_floats(row + out.pieces[i].at, y + out.pieces[i].place, out.pieces[i].count);
}

// The rows on the list of a chunk.
struct List {
  const RowOfChunk* rows;
  int64_t count, weight, row0;  // rows; the first weight; the group's row that rows count from
  bool first, last;             // of the chunks
};

// N vectors of each row. ONLY: there is one chunk.
template <class Weights, class Columns, int N, bool ONLY>
inline void rows(const RowTiles* m, const List& list, const float* x, const Columns& columns, const Out& out) {
  const bool one_piece = out.found == 1 && out.pieces->at == 0;
  const int last = one_piece ? (int)(out.pieces->count - (N - 1) * VL) : 0;  // of its vectors
  int64_t weight = list.weight;
  for (int64_t l = 0; l < list.count; l++) {
    const int64_t row = list.rows[l].row, count = list.rows[l].count;
    const Weights weights(m, weight, list.row0 + row);
    weight += count;
    vf sum[N] = {};
    if (!ONLY && !list.first) {
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) sum[n] = load(out.sums + row * SPAN + n * VL);
    }
    const auto add = [&](One w) __attribute__((always_inline)) {
      const float* at = x + columns[w.column];
      const vf value = splat(w.value);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) sum[n] += value * load(at + n * VL);
    };
    each_weight(weights, count, add);
    if (!ONLY && !list.last) {
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) store(out.sums + row * SPAN + n * VL, sum[n]);
      continue;
    }
    const vf scale = splat(out.scale[row]), bias = splat(out.bias[row]);
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) sum[n] = sum[n] * scale + bias;
    if (out.addend) {
      const float* addend = out.addend + row * out.stride + out.pieces->place;
#pragma GCC unroll 8
      for (int n = 0; n < N - 1; n++) sum[n] += load(addend + n * VL);
      sum[N - 1] += last == VL ? load(addend + (N - 1) * VL) : load_n(addend + (N - 1) * VL, last);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) sum[n] = clamped(sum[n], out.low, out.high);
    float* y = out.y + row * out.stride;
    if (last <= 0) {
      put<N>(sum, out, y);
      continue;
    }
    y += out.pieces->place;
#pragma GCC unroll 8
    for (int n = 0; n < N - 1; n++) store(y + n * VL, sum[n]);
    if (last == VL) store(y + (N - 1) * VL, sum[N - 1]);
    else store_n(y + (N - 1) * VL, sum[N - 1], last);
  }
}

// Never inlined: eight of these in one function keep less in registers.
template <class Weights, class Columns, int N>
[[gnu::noinline]] void rows_of_chunk(const RowTiles* m, const List& list, const float* x, const Columns& columns, const Out& out) {
  rows<Weights, Columns, N, false>(m, list, x, columns, out);
}

template <class Weights, class Columns, int N>
inline void vectors(int n, const RowTiles* m, const List& list, const float* x, const Columns& columns, const Out& out) {
  const bool only = list.first && list.last;
  if (n == N) only ? rows<Weights, Columns, N, true>(m, list, x, columns, out) : rows_of_chunk<Weights, Columns, N>(m, list, x, columns, out);
  else if constexpr (N > 1) vectors<Weights, Columns, N - 1>(n, m, list, x, columns, out);
}

// One tile of rows × one block of positions: span after span, and chunk after chunk of it, whose inputs stay in L1 for all of the rows.
template <class Weights, class Columns>
void tile(const RowTiles* m, int64_t index, int64_t row0, const Block& b, const Columns& columns, const int32_t* offset, const Grid& grid,
          bool tiled, Out out) {
  const StartOfChunk* start = (const StartOfChunk*)(m->base() + m->starts) + index * m->chunks;
  const RowOfChunk* list = (const RowOfChunk*)(m->base() + m->lists);
  Piece pieces[SPAN];
  out.pieces = pieces;
  for (int64_t at = 0; at < b.count; at += SPAN) {
    const int64_t count = smaller(b.count - at, SPAN), n = (count + VL - 1) / VL;
    if (tiled) pieces[0] = {0, n * VL, at};
    out.found = tiled ? 1 : grid.pieces(b.first + at, count, pieces);
    for (int64_t chunk = 0, last = m->chunks - 1; chunk <= last; chunk++) {
      const int64_t from = chunk * m->chunk;
      const StartOfChunk& s = start[chunk];
      const Columns own = Columns::TABLE ? Columns(0, offset + from) : columns;
      vectors<Weights, Columns, V>((int)n, m, {list + s.row, start[chunk + 1].row - s.row, s.weight, row0, chunk == 0, chunk == last},
                                   b.x + at + (Columns::TABLE ? 0 : columns[from]), own, out);
    }
  }
}

// The block's results, [rows][block], to where outputs lie side by side.
void scatter(const Grid& grid, const Block& b, const float* results, int64_t rows, float* y) {
  for (int64_t at = 0; at < b.count; at += SPAN) {
    Piece pieces[SPAN];
    const int found = grid.pieces(b.first + at, smaller(b.count - at, SPAN), pieces);
    for (int i = 0; i < found; i++)
      scatter_rows(results + at + pieces[i].at, grid.g->block, y + pieces[i].place * grid.g->y_position, grid.g->y_position, pieces[i].count, rows);
  }
}

// buf: packed weight, x, scale, bias, y; what is added, of 1 × 1 convolutions that make NCHW. p: Geometry. scale and bias have one float per output row. Scratch: offset of each column; inputs of
// a block, where these cannot be read in place, [channels][phases][plane]; sums of a tile [tile][SPAN] where there are several chunks; results
// [tile][block] where outputs lie side by side in y, which are then transposed into it. Items are (image, block of positions, group, tile), tiles
// fastest, so that a block is brought into scratch once.
template <class Weights, class Columns>
void run(const ThinCall* call, int64_t begin, int64_t end) {
  const RowTiles* m = (const RowTiles*)call->buf[0];
  const Geometry* g = (const Geometry*)call->p;
  Grid grid(g);
  const int64_t blocks = (g->positions + g->block - 1) / g->block;
  int32_t* offset = (int32_t*)call->scratch;
  float* inputs = (float*)call->scratch + (m->columns + ROUND - 1) / ROUND * ROUND;
  const bool in_place = g->inputs == IN_PLACE;
  if (in_place) grid.plane = g->x_channel;
  const Columns columns(grid.plane, offset);
  if (Columns::TABLE) grid.offsets(offset);
  float* sums = inputs + (in_place ? 0 : grid.floats());
  float* results = sums + (m->chunks > 1 ? m->tile * SPAN : 0);
  int64_t held = -1;  // what scratch holds: number of block and group
  Block b = {};
  for (int64_t item = begin; item < end; item++) {
    const int64_t key = item / m->tiles_per_group, part = item % m->tiles_per_group;
    const int64_t group = key % g->groups, image = key / g->groups / blocks, first = key / g->groups % blocks * g->block;
    if (key != held) {
      const float* x = (const float*)call->buf[1] + image * g->x_image + group * g->channels * g->x_channel;
      b = {in_place ? x + first : inputs, first, smaller(g->block, g->positions - first)};
      if (!in_place) gather_planes(grid, x, first, inputs);
      held = key;
    }
    const int64_t row0 = group * m->rows + part * m->tile, rows = smaller(m->tile, m->rows - part * m->tile);
    const bool tiled = g->y_position != 1;
    const int64_t place = image * g->y_image + row0 * g->y_channel;
    float* y = (float*)call->buf[4] + place;
    const Out out = {tiled ? results : y, g->adds ? (const float*)call->buf[5] + place : nullptr, tiled ? g->block : g->y_channel, sums, (const float*)call->buf[2] + row0,
                     (const float*)call->buf[3] + row0, splat(thin_f32(g->low)), splat(thin_f32(g->high)), nullptr, 0};
    tile<Weights>(m, group * m->tiles_per_group + part, row0, b, columns, offset, grid, tiled, out);
    if (tiled) scatter(grid, b, results, rows, y);
  }
}

template <class Weights>
void spmm(const ThinCall* call, int64_t begin, int64_t end) {
  const Geometry* g = (const Geometry*)call->p;
  const bool taps = g->inputs == PLANES && g->kernel[0] * g->kernel[1] * g->kernel[2] > 1;
  taps ? run<Weights, Taps>(call, begin, end) : run<Weights, Apart>(call, begin, end);
}

}  // namespace

THIN_KERNEL(sparse_spmm_f32) { spmm<FloatWeights>(call, begin, end); }
THIN_KERNEL(sparse_spmm_f16) { spmm<HalfWeights>(call, begin, end); }
THIN_KERNEL(sparse_spmm_codebook) { spmm<SymbolWeights>(call, begin, end); }
