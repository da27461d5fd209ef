// Codes of a product the quick way on 64-bit NEON: of a tile's sums, or four rows after four of a whole panel.
#pragma once

#include "product_ends.h"

#if defined(__aarch64__)
namespace {

// One row, exactly: for rows whose quick codes lie near a tie.
template <int P>
[[gnu::noinline]] void again(Tile t, int64_t r) {
  t.x += r * t.ldx;
  t.row += r;
  t.start = t.table.start + t.at;
  vi sum[1][P * NV];
  sums_of<1, P>(sum, t);
  exactly<1, P>(sum, t);
}

// Sums as floats, as `t` says that they begin.
template <int R>
[[gnu::always_inline]] inline void floats_of(const vi (&sum)[R][NV], int begun, vf (&value)[R][NV]) {
  if (__builtin_expect(begun == FOLDED, 1)) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<FOLDED>(sum[i / NV][i % NV]);
  } else if (begun == BASED) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<BASED>(sum[i / NV][i % NV]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<AS_THEY_ARE>(sum[i / NV][i % NV]);
  }
}

// Codes of some rows of a panel, the quick way. Bit r of the result: row r lies near a tie. One look tells that none does.
template <int R>
[[gnu::always_inline]] inline uint32_t quickly(const vi (&sum)[R][NV], const Tile& t, const QuickNeon& f) {
  vf value[R][NV];
  floats_of<R>(sum, t.begun, value);
  int8_t* to = f.codes + t.row * f.ld + t.column;
  uint32_t rows = 0;
#pragma GCC unroll 16
  for (int r = 0; r < R; r++, to += f.ld) {
    uint16x8_t least;
    store_bytes(to, f.bytes_of(value[r], t.table.quick_m + t.at, read_again(t.table.begun_bias + t.at), least), t.columns);
    rows |= (uint32_t)f.is_near(least) << r;
  }
  return rows;
}

#if defined(THIN_QUADS)
// All rows but at most three of a whole panel, the quick way; says how many.
template <int BEGUN>
[[gnu::noinline]] int64_t quick_rows(int64_t rows, const Tile& t) {
  const QuickNeon f = *t.quick;
  const QuadPanel panel = {t.w, t.start, t.table.quick_m + t.at, t.table.begun_bias + t.at};
  const vi flip = splati(t.flip);
  const int64_t count = rows / 4 * 4, sixteens = t.words / 4 - (t.tail != 0);
  for (int64_t done = 0; done < count; done += 4) {
    const int64_t r = t.upwards ? rows - 4 - done : done;
    const QuadRows<4> four(t.x + r * t.ldx, t.ldx, sixteens, t.tail, flip);
    uint32_t near = panel_codes<BEGUN>(four, panel, f, f.codes + (t.row + r) * f.ld + t.column);
    for (int64_t i = r; __builtin_expect(near != 0, 0); i++, near >>= 1)
      if (near & 1) again<1>(t, i);
  }
  return count;
}

// Rows of a whole panel that are made by fours: all but three of them, or none. Says how many.
inline int64_t fours_of_rows(int64_t rows, const Tile& t) {
  if (!t.finish->is_quick() || !t.pairs || t.words < 4 + 4 * (t.tail != 0)) return 0;
  return t.begun == FOLDED ? quick_rows<FOLDED>(rows, t) : t.begun == BASED ? quick_rows<BASED>(rows, t) : quick_rows<AS_THEY_ARE>(rows, t);
}
#else
// The same with dot products, of rows of sixteen columns and more whose codes have the right sign. `end` gets the sums of four rows from one on.
template <typename End>
[[gnu::always_inline]] inline int64_t each_four(int64_t rows, const Tile& t, End end) {
  const int64_t count = rows / 4 * 4, columns = t.tail ? 4 * t.words - 4 + t.tail : 4 * t.words, whole = columns / 16 * 4, rest = t.words - whole;
  const int64_t ldx = t.ldx, step = t.upwards ? -4 : 4;
  int64_t row = t.upwards ? rows - 4 : 0;
  const int8_t *x = t.x + row * ldx, *w = t.w;
  for (int64_t left = count; left > 0; left -= 4, x += step * ldx, row += step) {
    vi sum[4][NV];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const int32_t* start = read_again(t.start);
#pragma GCC unroll 4
      for (int i = 0; i < NV; i++) sum[r][i] = loadi(start + i * VL);
    }
    add_words<4, false>(sum, x, ldx, w, whole, vi{});
    if (rest) add_last_words<4>(sum, x + columns, ldx, w + whole * 4 * PANEL, rest, t.tail ? t.tail : 4);
    end(sum, row);
  }
  return count;
}

[[gnu::noinline]] int64_t quick_rows(int64_t rows, const Tile& t) {
  const QuickNeon f = *t.quick;
  const float *factors = t.table.quick_m + t.at, *bias = t.table.begun_bias + t.at;
  const vf m[NV] = {load(factors), load(factors + VL), load(factors + 2 * VL), load(factors + 3 * VL)};
  const int begun = t.begun;
  int8_t* const codes = f.codes + t.row * f.ld + t.column;
  return each_four(rows, t, [&](const vi (&sum)[4][NV], int64_t row) __attribute__((always_inline)) {
    vf value[4][NV];
    floats_of<4>(sum, begun, value);
    int8_t* to = codes + row * f.ld;
    uint16x8_t least[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) storei(to + r * f.ld, f.bytes_of(value[r], m, read_again(bias), least[r]));
    if (__builtin_expect(f.is_near(vminq_u16(vminq_u16(least[0], least[1]), vminq_u16(least[2], least[3]))), 0))
      for (int r = 0; r < 4; r++)
        if (f.is_near(least[r])) again<1>(t, row + r);
  });
}

// Step by step: a value is added, or floats leave too.
[[gnu::noinline]] int64_t exact_rows(int64_t rows, const Tile& t) {
  const Finish& f = *t.finish;
  const RowNeon how = f.row_neon();
  return each_four(rows, t, [&](const vi (&sum)[4][NV], int64_t row) __attribute__((always_inline)) {
    const RowNeon exact = *read_again(&how);  // not before the products, which need all registers
    const float *m = t.table.m + t.at, *bias = t.table.bias + t.at;
    int64_t place = (t.row + row) * f.ld + t.column;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++, place += f.ld)
      if (!__builtin_expect(exact.row<4>(sum[r], m, bias, f.y + place, f.codes + place, f.addend + place), 1)) {
        int32_t copied[PANEL];  // sums whose address somebody has would lie in memory
#pragma GCC unroll 4
        for (int i = 0; i < NV; i++) storei(copied + i * VL, sum[r][i]);
        f.row_apart(copied, t.table, t.at, t.row + row + r, t.column, PANEL);
      }
  });
}

inline int64_t fours_of_rows(int64_t rows, const Tile& t) {
  const Finish& f = *t.finish;
  if (t.flip || t.words < 4 + (t.tail != 0)) return 0;
  if (f.is_quick()) return quick_rows(rows, t);
  return (f.flags & TO_CODES) && !(f.flags & DYNAMIC) && f.grid.inverse != 0.0f ? exact_rows(rows, t) : 0;
}
#endif

}  // namespace
#endif
