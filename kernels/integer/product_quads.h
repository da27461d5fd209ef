// Sums of rows of codes times a panel of 16 outputs on NEON without dot products: by pairs of products that are added in 16 bits. Their codes.
#pragma once

#include "quick_neon.h"

#if defined(__ARM_NEON) && !defined(__ARM_FEATURE_DOTPROD)
#define THIN_QUADS 1  // a panel is four times four outputs, [4][K / 16][4][16]: a row's 16 codes meet each output's 16 weights as they lie

namespace {

inline int16x8_t upper_product(int8x16_t x, int8x16_t w) { return vmull_s8(vget_high_s8(x), vget_high_s8(w)); }

// Sixteen columns of four outputs, or the first eight of them (HALF). FIRST: nothing is in `sum` yet. Two products fit 16 bits unless all four
// numbers are -128; PAIRS: no two weights that meet here are (pairs_fit of pack.py).
template <int R, bool PAIRS, bool HALF, bool FIRST>
[[gnu::always_inline]] inline void add_block(int32x4_t (&sum)[R][4], const int8x16_t (&x)[R], const int8_t* w) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const int8x16_t weights = vld1q_s8(w + 16 * i);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      int16x8_t products = vmull_s8(vget_low_s8(x[r]), vget_low_s8(weights));
      if (!HALF && PAIRS) products = vmlal_s8(products, vget_high_s8(x[r]), vget_high_s8(weights));
      sum[r][i] = FIRST ? vpaddlq_s16(products) : vpadalq_s16(sum[r][i], products);
      if (!HALF && !PAIRS) sum[r][i] = vpadalq_s16(sum[r][i], upper_product(x[r], weights));
    }
  }
}

// The last `tail` codes (1 to 15) of a row of `columns`, flipped, then zeros.
inline int8x16_t last_codes(const int8_t* row, int64_t columns, int64_t tail, vi flip) {
#if defined(__aarch64__)
  if (columns >= 16) {
    static const uint8_t places[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int8x16_t codes = (int8x16_t)(loadi(row + columns - 16) ^ flip);
    return vqtbl1q_s8(codes, vaddq_u8(vld1q_u8(places), vdupq_n_u8((uint8_t)(16 - tail))));  // 0 beyond the last one
  }
#endif
  int8_t codes[16] = {};
  for (int64_t i = 0; i < tail; i++) codes[i] = row[columns - tail + i] ^ (int8_t)flip[0];
  return vld1q_s8(codes);
}

inline int32x4_t in_pairs(int32x4_t a, int32x4_t b) { return (int32x4_t)added_in_pairs(a, b); }

// R rows of codes, ldx apart: whole sixteens of columns and `tail` more.
template <int R>
struct QuadRows {
  const int8_t* row[R];
  int8x16_t last[R];
  int64_t whole, tail;
  vi flip;

  [[gnu::always_inline]] QuadRows(const int8_t* x, int64_t ldx, int64_t sixteens, int64_t more, vi signs) : whole(sixteens), tail(more), flip(signs) {
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      row[r] = x + r * ldx;
      if (tail) last[r] = last_codes(row[r], whole * 16 + tail, tail, flip);
    }
  }

  // Sums of four outputs, whose weights lie at w. WIDE: there are whole sixteens; then `beside` is done along with the products of the first ones, which
  // leave half of the core idle.
  template <bool PAIRS, bool WIDE, typename F>
  [[gnu::always_inline]] void times(const int8_t* w, int32x4_t (&found)[R], F beside) const {
    int32x4_t sum[R][4];
    int8x16_t x[R];
    const auto read = [&](int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) x[r] = (int8x16_t)(loadi(row[r] + 16 * k) ^ flip);
    };
    if (WIDE || whole) {
      if (WIDE) beside();
      read(0);
      add_block<R, PAIRS, false, true>(sum, x, w);
      w += 64;
      for (int64_t k = 1; k < whole; k++, w += 64) {
        read(k);
        add_block<R, PAIRS, false, false>(sum, x, w);
      }
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < R * 4; i++) sum[i / 4][i % 4] = vdupq_n_s32(0);
    }
    if (tail > 8) add_block<R, PAIRS, false, false>(sum, last, w);
    else if (tail) add_block<R, PAIRS, true, false>(sum, last, w);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) found[r] = in_pairs(in_pairs(sum[r][0], sum[r][1]), in_pairs(sum[r][2], sum[r][3]));
  }
  int64_t quad_bytes() const { return 64 * (whole + (tail != 0)); }
};

template <int R, bool PAIRS>
[[gnu::noinline]] void panel_sums(const QuadRows<R>& rows, const int8_t* w, int32_t (*to)[16]) {
  for (int quad = 0; quad < 4; quad++, w += rows.quad_bytes()) {
    int32x4_t sum[R];
    rows.template times<PAIRS, false>(w, sum, [] {});
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) vst1q_s32(to[r] + 4 * quad, sum[r]);
  }
}

#if defined(__aarch64__)
// What a panel of 16 outputs needs to become codes.
struct QuadPanel {
  const int8_t* w;
  const int32_t* start;
  const float *m, *bias;
};

// Codes of four rows, the quick way, of four outputs while the next ones are summed; there are whole sixteens of columns, and pairs of weights fit. Bit r of the result: row r lies near a tie.
template <int BEGUN>
[[gnu::always_inline]] inline uint32_t panel_codes(const QuadRows<4>& rows, QuadPanel p, const QuickNeon& f, int8_t* to) {
  uint16x8_t least[2] = {vdupq_n_u16(0xffff), vdupq_n_u16(0xffff)};
  int32_t sums[4][4] = {};
  const auto finish = [&]() __attribute__((always_inline)) {
    const float32x4_t m = vld1q_f32(p.m), bias = vld1q_f32(p.bias);
    vf moved[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) moved[r] = (vf)vfmaq_f32(bias, (float32x4_t)float_of<BEGUN>(loadi(sums[r])), m);
    least[0] = vminq_u16(least[0], f.above(moved[0], moved[1]));
    least[1] = vminq_u16(least[1], f.above(moved[2], moved[3]));
    const vi bytes = apart(f.bytes(moved));  // else clang would take the words apart before they are flipped
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
      const int32_t word = bytes[r];
      __builtin_memcpy(to + r * f.ld, &word, 4);
    }
    p.m += 4;
    p.bias += 4;
    to += 4;
  };
  const auto sum_up = [&](auto beside) __attribute__((always_inline)) {
    int32x4_t sum[4];
    rows.template times<true, true>(p.w, sum, beside);
    const int32x4_t start = vld1q_s32(p.start);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) vst1q_s32(sums[r], vaddq_s32(sum[r], start));
    p.w += rows.quad_bytes();
    p.start += 4;
  };
  sum_up([] {});
  for (int quad = 1; quad < 4; quad++) sum_up(finish);
  finish();
  if (__builtin_expect(!f.is_near(vminq_u16(least[0], least[1])), 1)) return 0;
  uint32_t near = 0;
  for (int r = 0; r < 4; r++)  // of two rows every second one is the first one's
    near |= (uint32_t)f.is_near(vorrq_u16(least[r / 2], vreinterpretq_u16_u32(vdupq_n_u32(r % 2 ? 0xffff : 0xffff0000)))) << r;
  return near;
}
#endif

}  // namespace
#endif
