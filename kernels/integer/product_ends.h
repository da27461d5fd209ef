// What becomes of the sums of a tile, but for the quick way to codes (product_quick.h, product_neon.h).
#pragma once

#include "product_tile.h"

namespace {

template <int R, int P>
[[gnu::always_inline]] inline void exactly(const vi (&sum)[R][P * NV], const Tile& t) {
  int32_t rows[R][P * PANEL];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) storei(rows[r] + i * VL, sum[r][i]);
  t.finish->exactly(rows[0], P * PANEL, R, t.table, t.at, t.row, t.column, t.columns);
}

// Sums that others finish.
template <int R, int P>
[[gnu::always_inline]] inline void as_they_are(const vi (&sum)[R][P * NV], const Tile& t) {
  const int64_t ld = t.finish->ld;
  float* to = t.finish->y + t.row * ld + t.column;
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const int left = t.columns - i * VL < VL ? (int)(t.columns - i * VL) : VL;
    if (left <= 0) break;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      if (__builtin_expect(left == VL, 1)) store(to + r * ld + i * VL, (vf)sum[r][i]);
      else store_n(to + r * ld + i * VL, (vf)sum[r][i], left);
    }
  }
}

// Floats and nothing else, from the registers.
template <int R, int P>
[[gnu::always_inline]] inline void to_floats(const vi (&sum)[R][P * NV], const Tile& t) {
  const Finish& f = *t.finish;
  const vf floor = splat(thin_f32(f.p[F_LOW])), ceiling = splat(thin_f32(f.p[F_HIGH])), alpha = splat(thin_f32(f.p[F_ALPHA]));
  vf scale[R];
  const bool is_dynamic = f.flags & DYNAMIC, differ = is_dynamic && !f.share(t.row, R);
  if (is_dynamic) scale[0] = splat(f.scales[f.group(t.row)]);
  if (differ)
#pragma GCC unroll 16
    for (int r = 1; r < R; r++) scale[r] = splat(f.scales[f.group(t.row + r)]);
  const int64_t ld = f.ld, place = t.row * ld + t.column, flags = f.flags;
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const int left = t.columns - i * VL < VL ? (int)(t.columns - i * VL) : VL;
    if (left <= 0) break;
    const vf own = load(t.table.m + t.at + i * VL), bias = load(t.table.bias + t.at + i * VL);
    vf m = is_dynamic ? apart(apart(scale[0] * own) * alpha) : own;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const int64_t at = place + r * ld + i * VL;
      if (r > 0 && differ) m = apart(apart(scale[r] * own) * alpha);
      vf v = apart(__builtin_convertvector(sum[r][i], vf) * m) + bias;
      if (flags & ADDS) v += left == VL ? load(f.addend + at) : load_n(f.addend + at, left);
      v = clamped(v, floor, ceiling);
      if (__builtin_expect(left == VL, 1)) store(f.y + at, v);
      else store_n(f.y + at, v, left);
    }
  }
}

}  // namespace
