// y[M, N] = finish(x[M, K] · Wᵀ): codes times int8 weights in panels of 16 outputs, [K / 4][16][4]; on NEON without dot products THIN_QUADS.
#include "coded.h"
#include "patches.h"
#include "product_neon.h"
#include "product_quick.h"

namespace {

template <int R, int P>
void tile(const Tile& t) {
  vi sum[R][P * NV];
  sums_of<R, P>(sum, t);
  if (t.finish->flags & AS_SUMS) {
    as_they_are<R, P>(sum, t);
    return;
  }
  if ((t.finish->flags & (TO_FLOATS | TO_CODES)) == TO_FLOATS) {
    to_floats<R, P>(sum, t);
    return;
  }
#if defined(__aarch64__)
  if (t.finish->is_quick()) {
    uint32_t rows = quickly<R>(sum, t, *t.quick);
    for (int r = 0; __builtin_expect(rows != 0, 0); r++, rows >>= 1)
      if (rows & 1) again<P>(t, r);
    return;
  }
#endif
  exactly<R, P>(sum, t);
}

// `rows` rows from `first` on in tiles of R; the last one ends with them, so that some are computed twice. Upwards: beginning with the last ones.
template <int R, int P>
inline void rows_in_tiles(int64_t first, int64_t rows, const Tile& block) {
  Tile t = block;
  for (int64_t r = 0; r < rows; r += R) {
    const int64_t whole = r + R <= rows ? r : rows - R, from = first + (block.upwards ? rows - R - whole : whole);
    t.x = block.x + from * t.ldx;
    t.row = block.row + from;
    tile<R, P>(t);
  }
}

// All rows: tiles of R, then what is left in a smaller one if that holds it.
template <int P>
inline void all_rows(int64_t rows, const Tile& block) {
  Tile t = block;
#if defined(__aarch64__)
  if (const int64_t done = t.columns >= PANEL ? fours_of_rows(rows, t) : 0) {
    if (!t.upwards) {
      t.x += done * t.ldx;
      t.row += done;
    }
    rows -= done;
  }
#endif
#if !defined(__aarch64__)
  if (t.finish->is_quick()) {
    all_quickly<P>(rows, t);
    return;
  }
#endif
  constexpr int R = rows_of(P), HALF = R > 4 ? 4 : R > 2 ? 2 : 1;
  const int64_t left = rows % R, whole = rows >= R && left <= HALF ? rows - left : rows;
  if (rows >= R) rows_in_tiles<R, P>(0, whole, t);
  if (rows >= R && whole == rows) return;
  const int64_t first = rows >= R ? whole : 0, rest = rows - first;
  if (rest == 1) rows_in_tiles<1, P>(first, 1, t);
  else if (rows >= HALF) rows_in_tiles<HALF, P>(rest < HALF ? rows - HALF : first, rest < HALF ? HALF : rest, t);
  else rows_in_tiles<1, P>(first, rest, t);
}

template <int P>
inline void panels_of(int panels, int64_t rows, const Tile& t) {
  if (panels == P) all_rows<P>(rows, t);
  else if constexpr (P > 1) panels_of<P - 1>(panels, rows, t);
}

void block(const ThinCall* call, const Finish& finish, int64_t group, int64_t chunk, int64_t row0, int64_t rows, bool upwards) {
  const int64_t* p = call->p;
#if defined(THIN_QUADS)
  const int64_t words = (p[K] + 15) / 16 * 4, tail = p[K] % 16, kept = 0;
#else
  const int64_t words = (p[K] + 3) / 4, tail = p[GATHER] ? 0 : p[K] % 4, kept = p[K] % 4;  // patches are filled up
#endif
  const int64_t panels = (p[N] + PANEL - 1) / PANEL, bits = p[BITS];
  const int64_t panel_bytes = bits ? coded_bytes(words, bits) : words * 4 * PANEL, ldw = bits ? (words + WORDS - 1) / WORDS * WORDS * 4 * PANEL : panel_bytes;
  const int64_t first = panels * chunk / p[CHUNKS], last = panels * (chunk + 1) / p[CHUNKS], tiles = (last - first + MP - 1) / MP;
  const int8_t* x = (const int8_t*)call->buf[0] + group * (p[GATHER] ? p[CONV + C_CHANNELS] : p[K]);
  const int64_t step = p[GATHER] ? p[BLOCK] : rows;
#if defined(__ARM_NEON)
  const int32_t* told = (const int32_t*)call->buf[2] + ((finish.flags & AS_SUMS) ? 1 : 7) * p[OUTPUTS];  // told() of pack.py
#endif
#if defined(__aarch64__)
  const QuickNeon quick(finish);
#endif
  for (int64_t r = 0; r < rows; r += step) {
    const int64_t now = rows - r < step ? rows - r : step;
    Tile t = {x + (row0 + r) * p[LDX], p[LDX], nullptr, ldw, words, tail, flip_of(p[SIGNED]), &finish,
              Table(call->buf[2], p[OUTPUTS]), 0, nullptr, row0 + r, 0, 0, upwards};
#if defined(__aarch64__)
    t.quick = &quick;
#endif
#if defined(__ARM_NEON)
    t.pairs = told[0];
#endif
    if (p[GATHER]) {
      const int8_t pad = (int8_t)p[PAD];
      const bool own = (finish.flags & DYNAMIC_ZERO) && finish.p[F_GROUP_ROWS] < p[M];
      const CodePatches patches = {x, p[LDX], p + CONV, (finish.flags & DYNAMIC_ZERO) ? (const int8_t*)finish.zeros : &pad, own};
      patches.gather(row0 + r, row0 + r + now, (int8_t*)call->scratch, words * 4);
      t.x = (const int8_t*)call->scratch;
      t.ldx = words * 4;
    }
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t panel = first + (last - first) * i / tiles, next = first + (last - first) * (i + 1) / tiles;
      t.w = (const int8_t*)call->buf[1] + (group * panels + panel) * panel_bytes;
      if (bits) {
        const int8_t* tables = (const int8_t*)call->buf[1] + p[GROUPS] * panels * panel_bytes + (group * panels + panel) * ENTRIES;
        int8_t* decoded = (int8_t*)call->scratch + p[DECODED];
        for (int64_t j = 0; j < next - panel; j++) decode_panel(t.w + j * panel_bytes, tables + j * ENTRIES, bits, words, kept, decoded + j * ldw);
        t.w = decoded;
      }
      t.at = (group * panels + panel) * PANEL;
      t.start = t.table.start + t.at;
#if defined(__aarch64__)
      if (finish.is_quick()) {
        t.start = t.table.begun_start + t.at;
        t.begun = told[1 + t.at / PANEL];
      }
#endif
      t.column = group * p[N] + panel * PANEL;
      t.columns = next * PANEL < p[N] ? (next - panel) * PANEL : p[N] - panel * PANEL;
      panels_of<MP>((int)(next - panel), now, t);
    }
  }
}

}  // namespace

// buf: x, weights, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param.
// One work item per block of rows × group × chunk of panels.
THIN_KERNEL(product_i8) {
  const int64_t* p = call->p;
  const Finish finish = {p + FINISH, (float*)call->buf[3], (int8_t*)call->buf[4], (const float*)call->buf[5], (const float*)call->buf[6],
                         (const uint8_t*)call->buf[7], p[GROUPS] * p[N]};
  for (int64_t item = begin; item < end; item++) {
    const int64_t group = item / p[CHUNKS] % p[GROUPS], row = item / p[CHUNKS] / p[GROUPS] * p[ROWS];
    // Prefetchers follow the columns that are written: of a thread's last rows not into those of another, which has them in its cache.
    const bool upwards = item + 1 == end && row + p[ROWS] < p[M];
    block(call, finish, group, item % p[CHUNKS], row, p[M] - row < p[ROWS] ? p[M] - row : p[ROWS], upwards);
  }
}
