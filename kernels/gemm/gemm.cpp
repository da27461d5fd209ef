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

// Columns [k, stop). FETCH: what is `ahead` comes nearer.
template <int R, int P, bool FETCH>
[[gnu::always_inline]] inline void multiply(vf (&sum)[R][P * NV], const Tile& t, int64_t first, int64_t stop) {
  const float *x0 = t.x + first, *x[R];
  if (!FETCH) asm("" : "+r"(x0));
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) x[r] = x0 + r * t.ldx;
  const float* w[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) w[p] = t.w + first * PANEL + p * t.ldw;
  const int64_t ahead = t.ahead, n = stop - first;
  for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 4
    for (int p = 0; FETCH && p < P; p++) __builtin_prefetch(w[p] + ahead + k * PANEL, 0, 2);
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

#if defined(__AVX512F__)
// All columns, and some of the next weights after every few of them. Nothing but the tile's place is known from one time to the next:
// compilers would keep pointers in vector registers, and what comes from there waits for multiply-adds.
template <int R, int P>
[[gnu::always_inline]] inline void multiply_and_look_ahead(vf (&sum)[R][P * NV], const Tile* t) {
  for (int64_t k = 0; k < t->n; k += STEPS) {
    asm("" : "+r"(t));
    multiply<R, P, false>(sum, *t, k, t->n - k < STEPS ? t->n : k + STEPS);
    asm("" : "+r"(t));
    t->next->some();
  }
}
#endif

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
#if defined(__AVX512F__)
      if (t.next) multiply_and_look_ahead<R, P>(sum, &t);
  else
#endif
    multiply<R, P, true>(sum, t, 0, t.n);
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
  const int64_t tiles = (rows + MR - 1) / MR, least = tiles ? rows / tiles : 0, higher = rows - least * tiles;
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t height = least + (i < higher);
    if (i + 1 == tiles) t.ahead = ahead;
    panels_of<NP>(panels, (int)height, t);
    t.x += height * t.ldx;
    t.y += height * t.ldy;
  }
}

// One row of activations that are not all finite, of which an absent weight must not see any.
inline void one_by_one(int panels, const Tile& t) {
  const bool begins = is_plain(t);  // as in tiles: other blocks of columns may have been finite
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

// What is multiplied with at a time: columns [k, k + n) of `count` panels from `panel` of all groups on; the `place`-th of its work item.
struct Part {
  int64_t panel, count, k, n, place;
  bool is(const Part& other) const { return count && panel == other.panel && k == other.k; }
};

// The weights of a part as floats. Scratch has room for all parts of a small weight, which are then decoded once for all work items, and for
// two of others: where weights are looked up, that is done for the next part while this one is multiplied.
class Decoder {
 public:
  Decoder(const ThinCall* call, Decode decode_)
      : decode(decode_), p(call->p), packed{(const char*)call->buf[1], p + PACKED}, scratch((float*)call->scratch) {
    const int64_t panels = (p[N] + PANEL - 1) / PANEL, most = (panels + p[CHUNKS] - 1) / p[CHUNKS];
    const int64_t parts = (most + NP - 1) / NP * ((p[K] + p[K_BLOCK] - 1) / p[K_BLOCK]);
    all = decode && parts <= MOST_PARTS && parts * room() <= p[PATCHES_AT];
    scaled = decode == decode_codebook && p[PACKED + W_SCALE_AT] && p[K] <= SHORT && panels * PANEL * p[K] <= FEW;
  }

  const Decode decode;  // nullptr: they are floats
  bool scaled;          // what a few short rows give need not be scaled then

  int64_t ld(const Part& part) const { return decode ? whole_words(part.n) * PANEL : p[K] * PANEL; }  // floats from panel to panel

  const float* weights(const Part& part, bool is_finite) {
    if (!decode) return (const float*)packed.panel(part.panel) + part.k * PANEL;
    at = all ? part.place : at;
    if (!held[at].is(part) || marked[at] == is_finite) {
      const Decode into = is_finite ? decode : decode_tiles<MARK>;
      for (int64_t j = 0; j < part.count; j++) {
        into(packed, part.panel + j, part.k, part.n, floats(at) + j * ld(part));
        if (scaled) scale(floats(at) + j * ld(part), part.n, packed.scale(part.panel + j));
      }
      held[at] = part, marked[at] = !is_finite;
    }
    return floats(at);
  }

#if defined(__AVX512F__) || defined(__aarch64__)
  // Whether weights of the next part can be looked up while `rows` rows are multiplied.
  bool looks_ahead(const Part& next, int64_t rows) const {
    const bool needed = next.count && after(next) != at && !held[after(next)].is(next);
    return needed && !scaled && decode == decode_codebook && rows >= Ahead::FEWEST_ROWS && !p[PACKED + W_LANES_AT];
  }
  Ahead ahead([[maybe_unused]] const Part& now, const Part& next, [[maybe_unused]] int64_t rows) const {
#if defined(__AVX512F__)
    const int64_t times = (rows + MR - 1) / MR * ((now.n + STEPS - 1) / STEPS);
    return Ahead(packed, next.panel, next.count, next.k, next.n, floats(after(next)), times);
#else
    return Ahead(packed, next.panel, next.k, next.n, floats(after(next)));
#endif
  }
  void came(Ahead& ahead, const Part& next) {
    ahead.rest();
    at = after(next);
    held[at] = next;
  }
#endif

 private:
  static constexpr int64_t MOST_PARTS = 32, SHORT = 32, FEW = 12288;

  static void scale(float* w, int64_t n, const float* factors) {
    for (int v = 0; v < PANEL; v += VL)
      for (int64_t k = 0; k < n; k++) store(w + k * PANEL + v, load(w + k * PANEL + v) * load(factors + v));
  }

  int64_t whole_words(int64_t n) const {
    const int64_t per = decode == decode_codebook ? per_word((int)p[PACKED + W_BITS]) : 1;
    return (n + per - 1) / per * per;
  }
  int64_t room() const { return NP * whole_words(p[K_BLOCK]) * PANEL; }
  int64_t after(const Part& next) const { return all ? next.place : 1 - at; }
  float* floats(int64_t i) const { return scratch + i * room(); }

  const int64_t* p;
  const Packed packed;
  float* const scratch;
  bool all;
  int64_t at = 0;
  Part held[MOST_PARTS] = {};
  bool marked[MOST_PARTS] = {};  // MARK tells what is absent
};

// One work item: some rows × some panels of one group. Scratch: decoded parts [NP][K_BLOCK][16], patches [ROWS][K_BLOCK].
struct Block {
  const ThinCall* call;
  int64_t item;
  const int64_t* p = call->p;
  int64_t chunk = item % p[CHUNKS], group = item / p[CHUNKS] % p[GROUPS], row0 = item / p[CHUNKS] / p[GROUPS] * p[ROWS];
  int64_t panels = (p[N] + PANEL - 1) / PANEL;  // of a group
  int64_t panel0 = panels * chunk / p[CHUNKS], panel1 = panels * (chunk + 1) / p[CHUNKS];
  int64_t rows = p[M] - row0 < p[ROWS] ? p[M] - row0 : p[ROWS];
  int64_t tiles = (panel1 - panel0 + NP - 1) / NP, passes = (p[K] + p[K_BLOCK] - 1) / p[K_BLOCK];  // tiles of nearly equal width
  const float* x = (const float*)call->buf[0] + group * (p[GATHER] ? p[CONV + C_CHANNELS] : p[K]);
  Packed packed{(const char*)call->buf[1], p + PACKED};
  float* patches = (float*)call->scratch + p[PATCHES_AT];

  // Patches are copied once for all panels; where there are none, each panel is read in one sweep.
  Part part(int64_t i) const {
    const int64_t tile = p[GATHER] ? i % tiles : i / passes, pass = p[GATHER] ? i / tiles : i % passes;
    const int64_t from = panel0 + (panel1 - panel0) * tile / tiles, to = panel0 + (panel1 - panel0) * (tile + 1) / tiles;
    return {group * panels + from, to - from, pass * p[K_BLOCK], columns(pass * p[K_BLOCK]), i};
  }

  int64_t columns(int64_t k) const { return p[K] - k < p[K_BLOCK] ? p[K] - k : p[K_BLOCK]; }

  // Whether the first `count` rows of n activations are all finite, where that matters.
  bool finite(Decode decode, const float* at, int64_t ld, int64_t n, int64_t count) const {
    if (decode != decode_tiles<NOTHING> || !has_absent(packed)) return true;
    bool found = true;
    for (int64_t r = 0; r < count && found; r++) found = all_finite(at + r * ld, n);
    return found;
  }

  void multiply(const Part& part, [[maybe_unused]] const Part& next, bool is_finite, Decoder& decoder) const {
    const int64_t k = part.k, panel = part.panel - group * panels, left = p[N] - panel * PANEL;
    const int count = (int)part.count;
    Tile t;
    t.n = part.n;
    t.x = p[GATHER] ? patches : x + row0 * p[LDX] + k;
    t.ldx = p[GATHER] ? p[K_BLOCK] : p[LDX];
    t.w = decoder.weights(part, true);
    t.ldw = decoder.ld(part);
    t.y = (float*)call->buf[3] + row0 * p[LDY] + group * p[N] + panel * PANEL;
    t.ldy = p[LDY];
    t.columns = (int)(left < count * PANEL ? left : count * PANEL);
    t.first = k == 0;
    t.last = k + t.n == p[K];
    t.scale = decoder.scaled ? nullptr : packed.scale(part.panel);
    t.bias = (const float*)call->buf[2] + part.panel * PANEL;
    t.alpha = thin_f32(p[ALPHA]);
    t.low = thin_f32(p[LOW]);
    t.high = thin_f32(p[HIGH]);
    t.ahead = decoder.decode ? 0 : p[GATHER] || t.last ? count * t.ldw - (p[GATHER] ? 0 : k * PANEL) : t.n * PANEL;
    if (!is_finite) {
      each_row(decoder.decode, count, t, true);
      decoder.weights(part, false);
      return each_row(decoder.decode, count, t, false);
    }
#if defined(__AVX512F__) || defined(__aarch64__)
    if (decoder.looks_ahead(next, rows)) {
      Ahead ahead = decoder.ahead(part, next, rows);
      t.next = &ahead;
      all_rows(count, rows, t);
      return decoder.came(ahead, next);
    }
#endif
    all_rows(count, rows, t);
  }

  // The rows that are finite, or those that are not. Each by itself, so that no row's bits hang on which others share its block, and so on threads.
  void each_row(Decode decode, int count, Tile t, bool wanted) const {
    for (int64_t r = 0; r < rows; r++) {
      const float* at = p[GATHER] ? t.x : x + (row0 + r) * p[LDX];
      if (finite(decode, at, 0, p[GATHER] ? t.n : p[K], 1) == wanted) wanted ? all_rows(count, 1, t) : one_by_one(count, t);
      t.x += t.ldx;
      t.y += t.ldy;
    }
  }

  // Columns [k, k + n) of the patches; taps side by side, as the decoded weights have them.
  void gather(int64_t k, int64_t n) const {
    const Patches source(x, p[LDX], p + CONV);
    const int64_t taps = p[TAPS], each = n / taps;
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t from = tap * (p[K] / taps) + k / taps;
      source.gather(row0, row0 + rows, from, from + each, patches + tap * each, p[K_BLOCK]);
    }
  }

  // `following`: the first part of the next work item.
  void run(Decoder& decoder, const Part& following) const {
    bool is_finite = p[GATHER] || finite(decoder.decode, x + row0 * p[LDX], p[LDX], p[K], rows);
    for (int64_t i = 0; i < tiles * passes; i++) {
      const Part now = part(i);
      if (p[GATHER] && i % tiles == 0) {
        gather(now.k, now.n);
        is_finite = finite(decoder.decode, patches, p[K_BLOCK], now.n, rows);
      }
      multiply(now, i + 1 < tiles * passes ? part(i + 1) : following, is_finite, decoder);
    }
  }
};

void blocks(const ThinCall* call, int64_t begin, int64_t end, Decode decode) {
  Decoder decoder(call, decode);
  for (int64_t item = begin; item < end; item++) Block{call, item}.run(decoder, item + 1 < end ? Block{call, item + 1}.part(0) : Part{});
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per block of rows × group × chunk of panels.
THIN_KERNEL(gemm_f32) { blocks(call, begin, end, nullptr); }
THIN_KERNEL(gemm_f16) { blocks(call, begin, end, decode_half); }
THIN_KERNEL(gemm_codebook) { blocks(call, begin, end, decode_codebook); }
THIN_KERNEL(gemm_tiles) { blocks(call, begin, end, decode_tiles<NOTHING>); }
THIN_KERNEL(gemm_rows) { blocks(call, begin, end, decode_rows); }
