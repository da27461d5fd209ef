// Codes of a product the quick way on 64-bit NEON: of a tile's sums, and without dot products (THIN_QUADS) four rows at a time, by sixteens.
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

// Codes of a panel's rows, the quick way. Bit r of the result: row r lies near a tie. One look tells that none does.
template <int R, bool FULL>
[[gnu::always_inline]] inline uint32_t quickly(const vi (&sum)[R][NV], const Tile& t, const QuickNeon& f) {
  const float* m = t.table.quick_m + t.at;
  vf value[R][NV];
  if (t.begun == FOLDED) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<FOLDED>(sum[i / NV][i % NV]);
  } else if (t.begun == BASED) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<BASED>(sum[i / NV][i % NV]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<AS_THEY_ARE>(sum[i / NV][i % NV]);
  }
  int8_t* to = f.codes + t.row * f.ld + t.column;
  uint16x8_t least[R], all = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; r++, to += f.ld) {
    const vi bytes = f.bytes_of(value[r], m, read_again(t.table.begun_bias + t.at), least[r]);
    if (FULL) storei(to, bytes);
    else store_bytes(to, bytes, t.columns);
    all = r ? vminq_u16(all, least[r]) : least[r];
  }
  uint32_t rows = 0;
  if (__builtin_expect(f.is_near(all), 0))
    for (int r = 0; r < R; r++) rows |= (uint32_t)f.is_near(least[r]) << r;
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
#endif

}  // namespace
#endif
