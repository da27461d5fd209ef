// What becomes of sums: y = float32(sum) · m + bias, a value added, a clamp, floats or codes or both (docs/quantization.md).
#pragma once

#include "codes.h"
#include "fixed_point.h"
#include "kernel.h"
#include "row_neon.h"

namespace {

enum FinishParam {
  F_FLAGS,                 // FinishFlag
  F_LOW, F_HIGH,           // floats that y is clamped to
  F_SCALE, F_ZERO,         // grid of the codes; zero, low and high are those of int8 codes: 128 less where they are uint8
  F_CODE_LOW, F_CODE_HIGH, // the least and the largest code: those of F_LOW and F_HIGH the quick way, which clamps codes alone; otherwise of all
  F_NEAR,                  // float: distance from an integer from which on the quick way may have rounded wrongly
  F_ALPHA,                 // float: factor of a dynamic scale
  F_GROUP_ROWS,            // rows of y that share a dynamic scale
  F_PARAMS
};
// AS_SUMS: of product_i8, which leaves int32 in the place of y to others.
enum FinishFlag { TO_FLOATS = 1, TO_CODES = 2, ADDS = 4, DYNAMIC = 8, DYNAMIC_ZERO = 16, QUICK = 32, UNSIGNED = 64, AS_SUMS = 128 };

// Per output: start of the sums, then m, bias, m / s, bias / s; for ARM what begun.py says, starts and biases. One after another, each `stride` long.
struct Table {
  const int32_t* start;
  const float *m, *bias, *quick_m, *quick_bias;
  const int32_t* begun_start;
  const float* begun_bias;
  Table(const void* at, int64_t stride) : start((const int32_t*)at) {
    m = (const float*)at + stride;
    bias = m + stride;
    quick_m = bias + stride;
    quick_bias = quick_m + stride;
    begun_start = (const int32_t*)(quick_bias + stride);
    begun_bias = quick_bias + 2 * stride;
  }
};

// The quick way to codes (not on 64-bit NEON): fixed point of fma(sum, m / s, bias / s), both as the table has them. By value, as `FixedPoint`.
struct Quick : FixedPoint {
  int8_t* codes;
  int64_t ld;
};

// Codes in fixed point of y, by the division that docs/quantization.md has.
[[gnu::always_inline]] inline vi divided(vf y, float scale, int64_t zero) {
  vf q = y / splat(scale);
  q = clamp(q == q ? q : vf{}, splat(-512.0f), splat(512.0f));
  return (__builtin_convertvector((q + MAGIC) - MAGIC, vi) + splati((int32_t)zero + NATURAL)) << 16;
}

struct Finish {
  const int64_t* p;
  float* y;             // all of them [rows][ld]
  int8_t* codes;
  const float* addend;
  const float* scales;
  const uint8_t* zeros;
  int64_t ld;
  int64_t flags = p[F_FLAGS];
  Grid grid = Grid(thin_f32(p[F_SCALE]), p[F_ZERO], true);

  bool is_quick() const { return flags & QUICK; }
  FixedPoint fixed_point(float width) const { return FixedPoint(width, p[F_CODE_LOW], p[F_CODE_HIGH], flags & UNSIGNED); }
  // F_NEAR allows for the errors of fma(sum, m / s, bias / s) and those of the exact way; the offset, numbers of at most 384, and fixed point err by
  // 7 * 2^-18 more (finish.py has the same width).
  Quick quick() const { return {fixed_point(0.5f - thin_f32(p[F_NEAR]) + 0x1p-15f), codes, ld}; }

  // Which dynamic scale a row has, and whether n rows from `row` on have the same.
  int64_t group(int64_t row) const { return p[F_GROUP_ROWS] == 1 ? row : row / p[F_GROUP_ROWS]; }
  bool share(int64_t row, int64_t n) const { return n == 1 || row % p[F_GROUP_ROWS] + n <= p[F_GROUP_ROWS]; }

#if defined(__aarch64__)
  RowNeon row_neon() const {
    const float low = thin_f32(p[F_LOW]), high = thin_f32(p[F_HIGH]);
    return {splat(low), splat(high), Divided(grid.inverse, p[F_ZERO], p[F_CODE_LOW], p[F_CODE_HIGH], flags & UNSIGNED), (flags & ADDS) != 0,
            (flags & TO_FLOATS) != 0, (flags & TO_CODES) != 0, low > -__builtin_inff() || high < __builtin_inff()};
  }
#endif

  // n outputs from `column` on of `rows` rows from `row` on, whose sums lie in order, `lds` apart, and whose entries of the table begin at `t`.
  [[gnu::noinline]] void exactly(const int32_t* sums, int64_t lds, int64_t rows, const Table& t, int64_t at, int64_t row, int64_t column, int64_t n) const {
    const bool together = !(flags & DYNAMIC) && grid.inverse != 0.0f;
#if defined(__aarch64__)
    if (together && (n == 16 || n == 8)) {
      const RowNeon f = row_neon();
      for (int64_t r = 0; r < rows; r++, sums += lds) {
        const int64_t place = (row + r) * ld + column;
        const vi four[4] = {loadi(sums), loadi(sums + VL), loadi(sums + (n - 2 * VL)), loadi(sums + (n - VL))}, two[2] = {four[0], four[1]};
        const bool done = n == 16 ? f.row<4>(four, t.m + at, t.bias + at, y + place, codes + place, addend + place)
                                  : f.row<2>(two, t.m + at, t.bias + at, y + place, codes + place, addend + place);
        if (!done) row_apart(sums, t, at, row + r, column, n);
      }
      return;
    }
#endif
    const Together f = {t.m + at, t.bias + at, splat(thin_f32(p[F_LOW])), splat(thin_f32(p[F_HIGH])), splat(grid.inverse * UNIT),
                        splat(FixedPoint::offset(TOGETHER_WIDTH, p[F_ZERO]) * UNIT), fixed_point(TOGETHER_WIDTH), flags, grid.scale, p[F_ZERO]};
    for (int64_t r = 0; r < rows; r++, sums += lds) {
      const int64_t place = (row + r) * ld + column;
      if (together) f.row(sums, y + place, codes + place, addend + place, n);
      else row_apart(sums, t, at, row + r, column, n);
    }
  }

  // Of 256 steps at most: the factor 1 / s, the quotient, the offset, the sum and fixed point err by less together.
  static constexpr float TOGETHER_WIDTH = 0x1p-13f;

  // A row with one look at its distances from ties for 4 VL outputs. By value, as `FixedPoint`.
  struct Together {
    const float *m, *bias;
    vf floor, ceiling, inverse, offset;
    FixedPoint fixed;
    int64_t flags;
    float scale;
    int64_t zero;

    [[gnu::always_inline]] void row(const int32_t* sums, float* y, int8_t* codes, const float* addend, int64_t n) const {
      for (int64_t i = 0; i < n; i += 4 * VL) {
        vf value[4] = {};
        vi q[4] = {};
        vu least = FixedPoint::most();
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
          const int64_t at = i + j * VL;
          const int left = n - at < VL ? (int)(n - at) : VL;
          if (left <= 0) break;
          vf v = apart(__builtin_convertvector(loadi(sums + at), vf) * load(m + at)) + load(bias + at);
          if (flags & ADDS) v += left == VL ? load(addend + at) : load_n(addend + at, left);
          v = clamp(v, floor, ceiling);
          if (flags & TO_FLOATS) {
            if (left == VL) store(y + at, v);
            else store_n(y + at, v, left);
          }
          value[j] = v;
          q[j] = FixedPoint::of(v * inverse + offset);
          least = FixedPoint::least(least, q[j]);
        }
        if (!(flags & TO_CODES)) continue;
        if (__builtin_expect(fixed.is_near(least), 0))  // or may be NaN
#pragma GCC unroll 4
          for (int j = 0; j < 4; j++) q[j] = divided(value[j], scale, zero);
        store_bytes(codes + i, in_order(fixed.bytes(q[0], q[1], q[2], q[3])), n - i);
      }
    }
  };

  [[gnu::noinline]] void row_apart(const int32_t* sums, const Table& t, int64_t at, int64_t row, int64_t column, int64_t n) const {
    const vf floor = splat(thin_f32(p[F_LOW])), ceiling = splat(thin_f32(p[F_HIGH])), alpha = splat(thin_f32(p[F_ALPHA]));
    const vf scale = splat((flags & DYNAMIC) ? scales[group(row)] : 1.0f);
    const int64_t place = row * ld + column;
    for (int64_t i = 0; i < n; i += VL) {
      const int left = n - i < VL ? (int)(n - i) : VL;
      vf m = load(t.m + at + i);
      if (flags & DYNAMIC) m = apart(apart(scale * m) * alpha);
      vf v = apart(__builtin_convertvector(loadi(sums + i), vf) * m) + load(t.bias + at + i);
      if (flags & ADDS) v += left == VL ? load(addend + place + i) : load_n(addend + place + i, left);
      v = clamped(v, floor, ceiling);
      if (flags & TO_FLOATS) {
        if (left == VL) store(y + place + i, v);
        else store_n(y + place + i, v, left);
      }
      if (flags & TO_CODES) {
        vi whole = __builtin_convertvector(rounded(v, grid, splat(-512.0f), splat(512.0f)), vi) + grid.zero;
        const vi least = splati((int32_t)p[F_CODE_LOW]), most = splati((int32_t)p[F_CODE_HIGH]);
        whole = whole < least ? least : whole > most ? most : whole;
        const vb bytes = __builtin_convertvector(whole ^ ((flags & UNSIGNED ? 0x80 : 0)), vb);
        if (left == VL) store_codes(codes + place + i, bytes);
        else store_codes_n(codes + place + i, bytes, left);
      }
    }
  }
};

}  // namespace
