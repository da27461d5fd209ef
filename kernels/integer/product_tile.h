// A tile of the product of codes and panels of weights: what it reads, and its sums.
#pragma once

#include "finish.h"
#include "product_dot.h"
#include "product_quads.h"

namespace {

constexpr int PANEL = 16, NV = PANEL / VL;

// Tile of the micro-kernel: at most MP panels; rows by how many sums the registers hold beside them.
#if defined(__AVX512VNNI__)
constexpr int MP = 4;
constexpr int rows_of(int panels) { return panels == 4 ? 6 : panels == 3 ? 8 : 12; }
#elif defined(__AVX512F__)
constexpr int MP = 4;
constexpr int rows_of(int panels) { return panels == 4 ? 5 : panels == 3 ? 6 : 10; }
#elif defined(__AVX2__)
constexpr int MP = 1;
constexpr int rows_of(int) { return 4; }
#elif defined(__aarch64__)
constexpr int MP = 1;
constexpr int rows_of(int) { return 4; }
#else
constexpr int MP = 1;
constexpr int rows_of(int) { return 2; }
#endif

enum Param {
  M, K, N, GROUPS,  // rows of x, columns of x and outputs per group, groups
  LDX,              // bytes between rows (pixels) of x
  ROWS, CHUNKS,     // rows per work item, parts that a group's panels are cut into
  BLOCK,            // rows whose patches are copied at a time
  SIGNED,           // codes of x are int8
  PAD,              // the code of zero, for padding
  GATHER,           // 1: x is an image, its rows are patches (ConvParam)
  OUTPUTS,          // of all groups with panels filled up: stride of the table
  BITS,             // of a weight, whose panels are decoded into scratch; 0: they lie as bytes
  DECODED,          // where in scratch that is
  FINISH,
  CONV = FINISH + F_PARAMS
};

struct Tile {
  const int8_t* x;
  int64_t ldx;
  const int8_t* w;     // panels ldw bytes apart
  int64_t ldw, words;  // words of four columns
  int64_t tail;        // columns of the last word, with THIN_QUADS of the last sixteen, if not all
  int32_t flip;        // gives codes the sign that dot wants
  const Finish* finish;
  Table table;
  int64_t at;          // of the first output in the table
  const int32_t* start;  // what sums begin with
  int64_t row, column, columns;
  bool upwards;        // from the last row to the first one
#if defined(__ARM_NEON)
  bool pairs = true;   // see product_quads.h
#endif
#if defined(__aarch64__)
  const QuickNeon* quick = nullptr;
  int begun = 0;       // how sums begin: Begun
#endif
};

#if defined(THIN_QUADS)
// Adds the products of R rows from `from` on with a panel.
template <int R, int P>
[[gnu::always_inline]] inline void add_products(vi (&sum)[R][NV], const int8_t* from, const Tile& t) {
  const vi flip = splati(t.flip);
  int32_t raw[R][PANEL];
  const QuadRows<R> rows(from, t.ldx, t.words / 4 - (t.tail != 0), t.tail, flip);
  if (t.pairs) panel_sums<R, true>(rows, t.w, raw);
  else panel_sums<R, false>(rows, t.w, raw);
#pragma GCC unroll 16
  for (int i = 0; i < R * NV; i++) sum[i / NV][i % NV] += loadi(raw[i / NV] + i % NV * VL);
}
#else
// The last `tail` bytes (1 to 3) of a row of K, the lowest of a word of which the others are 0.
inline int32_t last_word(const int8_t* row, int64_t k, int64_t tail) {
  if (k >= 4) return (int32_t)((uint32_t)load_word(row + k - 4) >> (8 * (4 - tail)));
  const uint8_t* x = (const uint8_t*)row;
  return x[0] | (tail > 1 ? x[1] << 8 : 0) | (tail > 2 ? x[2] << 16 : 0);
}

// Adds the products of R rows from `from` on with P panels.
template <int R, int P>
[[gnu::always_inline]] inline void add_products(vi (&sum)[R][P * NV], const int8_t* from, const Tile& t) {
  const vi flip = splati(t.flip);
  const int8_t* x[(R + 2) / 3];
#pragma GCC unroll 16
  for (int r = 0; r < R; r += 3) x[r / 3] = from + r * t.ldx;
  const int64_t ldx = t.ldx;
  const int8_t* w = t.w;
  const int64_t whole = t.tail ? t.words - 1 : t.words;
#if defined(__ARM_FEATURE_DOTPROD)
  int64_t k = add_words<R>(sum, from, ldx, w, whole, flip);
  w += k * 4 * PANEL;
#else
  int64_t k = 0;
#endif
  for (; k < whole; k++, w += 4 * PANEL) {
    W column[P * NV];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) column[p * NV + v] = signed_words(loadi(w + p * t.ldw + v * VL * 4));
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const X value = unsigned_words(apart(splati(load_word(x[r / 3] + r % 3 * ldx + 4 * k))) ^ flip);
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] = dot(sum[r][i], value, column[i]);
    }
  }
  if (t.tail)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {  // unrolled, as all loops over sums: what is indexed at run time lies in memory
      const X value = unsigned_words(splati(last_word(from + r * ldx, 4 * whole + t.tail, t.tail)) ^ flip);
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] = dot(sum[r][i], value, signed_words(loadi(w + i / NV * t.ldw + i % NV * VL * 4)));
    }
}
#endif

// The zero point of a row of dynamic codes, as the codes that dot sees have it.
inline int32_t zero_of(const Finish& f, int64_t row) { return (int32_t)f.zeros[f.group(row)] - CODE_SHIFT; }

template <int R, int P>
[[gnu::always_inline]] inline void sums_of(vi (&sum)[R][P * NV], const Tile& t) {
  int32_t zeros[R];
  if (t.finish->flags & DYNAMIC_ZERO) {
    const bool share = t.finish->share(t.row, R);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) zeros[r] = r > 0 && share ? zeros[0] : -zero_of(*t.finish, t.row + r);
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) zeros[r] = 1;
  }
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const vi start = loadi(t.start + i * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sum[r][i] = (t.finish->flags & DYNAMIC_ZERO) ? start * zeros[r] : start;
  }
  add_products<R, P>(sum, t.x, t);
}

}  // namespace
