// y[M, N] = clamp(alpha * scale * (x[M, K] · Wᵀ) + bias), weights in panels of 16 rows of W, decoded a tile at a time.
#include "decode.h"
#include "gather.h"
#include "half.h"
#include "tile.h"
#include "tiles.h"
#if defined(__aarch64__)
#include "tile_neon.h"
#endif

namespace {

// Tile of the micro-kernel: MR rows of x × NP panels, held in registers.
#if defined(__AVX512F__)
constexpr int MR = 8, NP = 3;  // 24 of 32 registers hold sums; 8 rows leave enough general registers for their pointers
#elif defined(__AVX2__)
constexpr int MR = 6, NP = 1;
#elif !defined(__aarch64__)  // whose micro-kernel has a header of its own
constexpr int MR = 3, NP = 1;
#endif

enum Param {
  M, K, N, GROUPS,          // rows of x, columns of x and outputs per group, groups
  LDX, LDY,                 // floats between rows
  K_BLOCK, ROWS, CHUNKS,    // columns per pass, rows per work item, parts of nearly equal width that a group's panels are cut into
  ALPHA, LOW, HIGH,         // floats
  GATHER,                   // 1: x is an image, its rows are patches (ConvParam); 0: x is read in place
  PATCHES_AT,               // floats from the start of scratch: after the decoded panels
  TAPS,                     // columns lie channel by channel, so many taps of each; 1: in the order of patches
  PACKED,                   // PackedParam from here on, then ConvParam
  CONV = PACKED + W_PARAMS
};

#if !defined(__aarch64__)

// Always inlined: in a function of its own, the sums would live in memory.
template <int R, int P>
[[gnu::always_inline]] inline void finish(vf (&sum)[R][P * NV], const Tile& t) {
  const vf low = splat(t.low), high = splat(t.high);
  if (is_plain(t)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] = clamp(sum[r][i], low, high);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const vf bias = load(t.bias + i * VL);
    vf scale = splat(t.alpha);
    if (t.scale) scale *= load(t.scale + i * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sum[r][i] = clamp(sum[r][i] * scale + bias, low, high);
  }
}

template <int R, int P>
[[gnu::always_inline]] inline void multiply(vf (&sum)[R][P * NV], const Tile& t) {
  const float* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = t.x + r * t.ldx;
  const float* w[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) w[p] = t.w + p * t.ldw;
  const int64_t ahead = t.ahead;
  for (int64_t k = 0; k < t.n; k++) {
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) __builtin_prefetch(w[p] + ahead + k * PANEL, 0, 2);
    vf column[P * NV];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) column[p * NV + v] = load(w[p] + k * PANEL + v * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const float value = x[r][k];
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] += column[i] * value;
    }
  }
}

// EDGE: the last columns of the tile do not exist in y.
template <int R, int P, bool EDGE>
[[gnu::noinline]] void tile(const Tile& t) {
  vf sum[R][P * NV];
  const bool plain = is_plain(t);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) {
      const float* y = t.y + r * t.ldy + i * VL;
      sum[r][i] = t.first ? (plain ? load(t.bias + i * VL) : vf{}) : EDGE ? read_y(y, t.columns - i * VL) : load(y);
    }
#if defined(__AVX2__)
  if (EDGE && t.columns <= P * PANEL - PANEL / 2) multiply_half<R, P>(sum, t);
  else
#endif
    multiply<R, P>(sum, t);
  if (t.last) finish<R, P>(sum, t);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) {
      float* y = t.y + r * t.ldy + i * VL;
      if (EDGE) write_y(y, sum[r][i], t.columns - i * VL);
      else store(y, sum[r][i]);
    }
}

template <int R, int P>
inline void tile_of(int rows, const Tile& t) {
  if (rows == R) t.columns < P * PANEL ? tile<R, P, true>(t) : tile<R, P, false>(t);
  else if constexpr (R > 1) tile_of<R - 1, P>(rows, t);
}

template <int P>
inline void panels_of(int panels, int rows, const Tile& t) {
  if (panels == P) tile_of<MR, P>(rows, t);
  else if constexpr (P > 1) panels_of<P - 1>(panels, rows, t);
}

#endif

// Gives `rows` rows to the micro-kernel in tiles of nearly equal height. While the last of them is done, the next weights come nearer.
inline void all_rows(int panels, int64_t rows, Tile t) {
  const int64_t ahead = t.ahead;
  t.ahead = 0;
  const int64_t tiles = (rows + MR - 1) / MR;
  for (int64_t i = 0, at = 0; i < tiles; i++) {
    const int64_t next = rows * (i + 1) / tiles;
    if (i + 1 == tiles) t.ahead = ahead;
    panels_of<NP>(panels, (int)(next - at), t);
    t.x += (next - at) * t.ldx;
    t.y += (next - at) * t.ldy;
    at = next;
  }
}

// One row of activations that are not all finite, of which an absent weight must not see any.
inline void one_by_one(int panels, const Tile& t) {
#if defined(__aarch64__)
  const bool begins = false;
#else
  const bool begins = is_plain(t);  // as in tiles: other blocks of columns may have been finite
#endif
  for (int i = 0; i < t.columns && i < panels * PANEL; i++) {
    const float* w = t.w + i / PANEL * t.ldw + i % PANEL;
    float sum = !t.first ? t.y[i] : begins ? t.bias[i] : 0.0f;
    for (int64_t k = 0; k < t.n; k++)
      if (!is_absent(w[k * PANEL])) sum += w[k * PANEL] * t.x[k];
    if (t.last) {
      if (!begins) sum = sum * t.alpha + t.bias[i];
      sum = sum < t.low ? t.low : sum > t.high ? t.high : sum;
    }
    t.y[i] = sum;
  }
}

typedef void (*Decode)(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out);

// One work item: some rows × some panels of one group. Scratch: decoded weights [NP][K_BLOCK][16], patches [ROWS][K_BLOCK].
struct Block {
  const ThinCall* call;
  Decode decode;
  int64_t group, row0, chunk;
  const int64_t* p = call->p;
  Packed packed{(const char*)call->buf[1], p + PACKED};
  int64_t panels = (p[N] + PANEL - 1) / PANEL;  // of a group
  int64_t panel0 = panels * chunk / p[CHUNKS], panel1 = panels * (chunk + 1) / p[CHUNKS];
  int64_t rows = p[M] - row0 < p[ROWS] ? p[M] - row0 : p[ROWS];
  const float* x = (const float*)call->buf[0] + group * (p[GATHER] ? p[CONV + C_CHANNELS] : p[K]);
  float* decoded = (float*)call->scratch;
  float* patches = decoded + p[PATCHES_AT];

  int64_t columns(int64_t k) const { return p[K] - k < p[K_BLOCK] ? p[K] - k : p[K_BLOCK]; }
  int64_t tiles() const { return (panel1 - panel0 + NP - 1) / NP; }  // of nearly equal width

  // Whether the first `count` rows of n activations are all finite, where that matters.
  bool finite(const float* at, int64_t ld, int64_t n, int64_t count) const {
    if (decode != decode_tiles<NOTHING> || !has_absent(packed)) return true;
    bool found = true;
    for (int64_t r = 0; r < count && found; r++) found = all_finite(at + r * ld, n);
    return found;
  }

  // Tile i of the panels × the block of columns from k on.
  void multiply(int64_t i, int64_t k, bool is_finite) const {
    const int64_t panel = panel0 + (panel1 - panel0) * i / tiles(), next = panel0 + (panel1 - panel0) * (i + 1) / tiles();
    const int64_t index = group * panels + panel, left = p[N] - panel * PANEL;
    const int count = (int)(next - panel);
    Tile t;
    t.n = columns(k);
    t.x = p[GATHER] ? patches : x + row0 * p[LDX] + k;
    t.ldx = p[GATHER] ? p[K_BLOCK] : p[LDX];
    t.w = decode ? decoded : (const float*)packed.panel(index) + k * PANEL;
    t.ldw = decode ? t.n * PANEL : p[K] * PANEL;
    t.y = (float*)call->buf[3] + row0 * p[LDY] + group * p[N] + panel * PANEL;
    t.ldy = p[LDY];
    t.columns = (int)(left < count * PANEL ? left : count * PANEL);
    t.first = k == 0;
    t.last = k + t.n == p[K];
    t.scale = packed.scale(index);
    t.bias = (const float*)call->buf[2] + index * PANEL;
    t.alpha = thin_f32(p[ALPHA]);
    t.low = thin_f32(p[LOW]);
    t.high = thin_f32(p[HIGH]);
    t.ahead = decode ? 0 : p[GATHER] || t.last ? count * t.ldw - (p[GATHER] ? 0 : k * PANEL) : t.n * PANEL;
    for (int j = 0; decode && j < count; j++) decode(packed, index + j, k, t.n, decoded + j * t.ldw);
    if (is_finite) {
      all_rows(count, rows, t);
      return;
    }
    each_row(count, t, true);
    for (int j = 0; j < count; j++) decode_tiles<MARK>(packed, index + j, k, t.n, decoded + j * t.ldw);
    each_row(count, t, false);
  }

  // The rows that are finite, or those that are not. Each by itself, so that no row's bits hang on which others share its block, and so on threads.
  void each_row(int count, Tile t, bool wanted) const {
    for (int64_t r = 0; r < rows; r++) {
      const float* at = p[GATHER] ? t.x : x + (row0 + r) * p[LDX];
      if (finite(at, 0, p[GATHER] ? t.n : p[K], 1) == wanted) wanted ? all_rows(count, 1, t) : one_by_one(count, t);
      t.x += t.ldx;
      t.y += t.ldy;
    }
  }

  // Columns [k, k + n) of the patches; taps side by side, as the decoded weights have them.
  void gather(const Patches& source, int64_t k, int64_t n) const {
    const int64_t taps = p[TAPS], each = n / taps;
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t from = tap * (p[K] / taps) + k / taps;
      source.gather(row0, row0 + rows, from, from + each, patches + tap * each, p[K_BLOCK]);
    }
  }

  // Patches are copied once for all panels; where there are none, each panel is read in one sweep.
  void run() const {
    if (p[GATHER]) {
      const Patches source(x, p[LDX], p + CONV);
      for (int64_t k = 0; k < p[K]; k += p[K_BLOCK]) {
        gather(source, k, columns(k));
        const bool is_finite = finite(patches, p[K_BLOCK], columns(k), rows);
        for (int64_t i = 0; i < tiles(); i++) multiply(i, k, is_finite);
      }
    } else {
      const bool is_finite = finite(x + row0 * p[LDX], p[LDX], p[K], rows);
      for (int64_t i = 0; i < tiles(); i++)
        for (int64_t k = 0; k < p[K]; k += p[K_BLOCK]) multiply(i, k, is_finite);
    }
  }
};

void blocks(const ThinCall* call, int64_t begin, int64_t end, Decode decode) {
  const int64_t* p = call->p;
  for (int64_t item = begin; item < end; item++) {
    const int64_t group = item / p[CHUNKS] % p[GROUPS], row = item / p[CHUNKS] / p[GROUPS] * p[ROWS];
    Block{call, decode, group, row, item % p[CHUNKS]}.run();
  }
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per block of rows × group × chunk of panels.
THIN_KERNEL(gemm_f32) { blocks(call, begin, end, nullptr); }
THIN_KERNEL(gemm_f16) { blocks(call, begin, end, decode_half); }
THIN_KERNEL(gemm_codebook) { blocks(call, begin, end, decode_codebook); }
THIN_KERNEL(gemm_tiles) { blocks(call, begin, end, decode_tiles<NOTHING>); }
THIN_KERNEL(gemm_rows) { blocks(call, begin, end, decode_rows); }
