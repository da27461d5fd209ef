// Panels with NEON: `tbl` looks 16 indices up in 16 entries. With dot products (ARMv8.2) entries go straight to sdot, else to widening
// products that are added in 16 bits, as many as the row and the table let fit: two, as long as no code is -128, four of most rows.
#pragma once

#include "rows.h"

namespace {

inline int8x16_t look_up(int8x16_t table, uint8x16_t index) {
#if defined(__aarch64__)
  return vqtbl1q_s8(table, index);
#else
  const int8x8x2_t both = {{vget_low_s8(table), vget_high_s8(table)}};
  const int8x16_t i = vreinterpretq_s8_u8(index);
  return vcombine_s8(vtbl2_s8(both, vget_low_s8(i)), vtbl2_s8(both, vget_high_s8(i)));
#endif
}

#if defined(__ARM_FEATURE_DOTPROD)
inline int depth_of(const uint8_t*, int, const Row&) { return 1; }
#else
// How many products of a column's and the next columns' codes, four apart, fit 16 bits whatever the indices are: 4, 2 or 1.
inline int depth_of(const uint8_t* entries, int count, const Row& row) {
  int largest = count ? 0 : 128;
  for (int i = 0; i < count; i++) {
    const int entry = entries[i] - 128;
    largest = entry > largest ? entry : -entry > largest ? -entry : largest;
  }
  uint16x4_t most = vdup_n_u16(0);
  for (int64_t k = 0; k < row.columns; k += 16) {  // zeros follow
    const uint8x16_t x = vreinterpretq_u8_s8(vabsq_s8(vld1q_s8(row.x + k)));
    const uint16x8_t pairs = vaddl_u8(vget_low_u8(x), vget_high_u8(x));
    most = vmax_u16(most, vadd_u16(vget_low_u16(pairs), vget_high_u16(pairs)));
  }
  uint16_t sums[4];
  vst1_u16(sums, most);
  for (int i = 1; i < 4; i++) sums[0] = sums[i] > sums[0] ? sums[i] : sums[0];
  return largest * sums[0] <= 32767 ? 4 : row.has_least ? 1 : 2;
}
#endif

// Entries less 128, so that they are signed. Of 1 and 2 bits, part[i] looks at field i of four bits, so that these are cut out together.
template <int B>
struct Tables {
  static constexpr int PARTS = B == 1 ? 4 : B == 2 ? 2 : B == 6 ? 4 : 1;
  int8x16_t part[PARTS];
  int depth;  // products that are added in 16 bits
  Tables(const uint8_t* entries, const Row& row) : depth(depth_of(entries, B < 8 ? 1 << B : 0, row)) {
    if constexpr (B < 8)
      for (int i = 0; i < PARTS; i++) {
        uint8_t lookup[16];
        for (int j = 0; j < 16; j++) lookup[j] = entries[(B == 6 ? 16 * i + j : j >> (B * i)) & ((1 << B) - 1)] ^ 0x80;
        part[i] = vreinterpretq_s8_u8(vld1q_u8(lookup));
      }
  }
  // Of indices below 64.
  inline int8x16_t quarters(uint8x16_t index) const {
#if defined(__aarch64__)
    const int8x16x4_t all = {{part[0], part[PARTS > 1 ? 1 : 0], part[PARTS > 2 ? 2 : 0], part[PARTS > 3 ? 3 : 0]}};
    return vqtbl4q_s8(all, index);
#else
    int8x16_t found = look_up(part[0], index);
    for (int i = 1; i < PARTS; i++) found = vorrq_s8(found, look_up(part[i], vsubq_u8(index, vdupq_n_u8((uint8_t)(16 * i)))));
    return found;
#endif
  }
};

template <int SHIFT>
inline uint8x16_t words_right(const uint8_t* w) {
  return vreinterpretq_u8_u16(vshrq_n_u16(vreinterpretq_u16_u8(vld1q_u8(w)), SHIFT));
}

// Field F of a vector of a group's step, as signed entries.
template <int B, int F>
inline int8x16_t entries_of(const uint8_t* w, const Tables<B>& table) {
  constexpr int S = SEEN<B>;
  if constexpr (B == 8) return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(0x80)));
  else if constexpr (B == 1 || B == 2 || B == 4) {
    constexpr int PER = 4 / B;
    const uint8x16_t bytes = vld1q_u8(w);
    return look_up(table.part[F % PER], F < PER ? vandq_u8(bytes, vdupq_n_u8(15)) : vshrq_n_u8(bytes, 4));
  } else {
    uint8x16_t index;
    if constexpr (F / S < 3) {
      index = vld1q_u8(w + 64 * (F / S));
      if constexpr (F % S > 0) index = vshrq_n_u8(index, F % S * B);
    } else {
      index = veorq_u8(veorq_u8(words_right<2>(w), words_right<4>(w + 64)), words_right<6>(w + 128));
      if constexpr (F % S > 0) index = vshrq_n_u8(index, F % S * B);
    }
    index = vandq_u8(index, vdupq_n_u8((1 << B) - 1));
    if constexpr (B == 6) return table.quarters(index);
    else return look_up(table.part[0], index);
  }
}

// Sums of four rows, and the codes of UNIT steps.
#if defined(__ARM_FEATURE_DOTPROD)
template <int B, int UNIT>
struct Codes {
  int8x16_t four[(FIELDS<B> + 3) / 4];  // fields of 4 codes each
  explicit Codes(const int8_t* x) {
    for (int i = 0; i < (FIELDS<B> + 3) / 4; i++) four[i] = vld1q_s8(x + 16 * i);
  }
};

struct Sum {
  int32x4_t four = vdupq_n_s32(0);
  int32x4_t total() const { return four; }
  template <int B, int DEPTH, int UNIT, int F = 0>
  [[gnu::always_inline]] inline void add(const uint8_t* w, const Codes<B, UNIT>& codes, const Tables<B>& table) {
    if constexpr (F < FIELDS<B>) {
      const int8x16_t entries = entries_of<B, F>(w, table);
      four = vdotq_laneq_s32(four, entries, codes.four[F / 4], F % 4);
      add<B, DEPTH, UNIT, F + 1>(w, codes, table);
    }
  }
};
#else
#if defined(__aarch64__)
inline int16x8_t upper_product(int8x16_t a, int8x16_t b) { return vmull_high_s8(a, b); }
inline int16x8_t add_upper_product(int16x8_t sum, int8x16_t a, int8x16_t b) { return vmlal_high_s8(sum, a, b); }
#else
inline int16x8_t upper_product(int8x16_t a, int8x16_t b) { return vmull_s8(vget_high_s8(a), vget_high_s8(b)); }
inline int16x8_t add_upper_product(int16x8_t sum, int8x16_t a, int8x16_t b) { return vmlal_s8(sum, vget_high_s8(a), vget_high_s8(b)); }
#endif

template <int B, int UNIT>
struct Codes {
  int8x16_t field[FIELDS<B> * UNIT];  // four codes, for each of four rows
  explicit Codes(const int8_t* x) {
    for (int f = 0; f < FIELDS<B> * UNIT; f++) {
      int32_t word;
      __builtin_memcpy(&word, x + 4 * f, 4);
      field[f] = vreinterpretq_s8_s32(vdupq_n_s32(word));
      asm("" : "+w"(field[f]));  // clang, seeing that both halves are the same, would move upper halves of entries down for them
    }
  }
};

struct Sum {
  int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);  // two numbers of each row
  int32x4_t total() const {
#if defined(__aarch64__)
    return vpaddq_s32(low, high);
#else
    return vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)), vpadd_s32(vget_low_s32(high), vget_high_s32(high)));
#endif
  }
  // Fields [F, END) added to the 16-bit sums.
  template <int B, int UNIT, int F, int END>
  [[gnu::always_inline]] static inline void chain(int16x8_t& a, int16x8_t& b, const uint8_t* w, const Codes<B, UNIT>& codes, const Tables<B>& table) {
    if constexpr (F < END) {
      const int8x16_t e = entries_of<B, F % FIELDS<B>>(w + F / FIELDS<B> * STEP_BYTES<B>, table);
      a = vmlal_s8(a, vget_low_s8(e), vget_low_s8(codes.field[F]));
      b = add_upper_product(b, e, codes.field[F]);
      chain<B, UNIT, F + 1, END>(a, b, w, codes, table);
    }
  }
  template <int B, int DEPTH, int UNIT, int F = 0>
  [[gnu::always_inline]] inline void add(const uint8_t* w, const Codes<B, UNIT>& codes, const Tables<B>& table) {
    if constexpr (F < FIELDS<B> * UNIT) {
      const int8x16_t e = entries_of<B, F % FIELDS<B>>(w + F / FIELDS<B> * STEP_BYTES<B>, table);
      int16x8_t a = vmull_s8(vget_low_s8(e), vget_low_s8(codes.field[F])), b = upper_product(e, codes.field[F]);
      chain<B, UNIT, F + 1, F + DEPTH>(a, b, w, codes, table);
      low = vpadalq_s16(low, a);
      high = vpadalq_s16(high, b);
      add<B, DEPTH, UNIT, F + DEPTH>(w, codes, table);
    }
  }
};
#endif

template <int B, int DEPTH, int UNIT>
[[gnu::always_inline]] inline void steps_of(Sum (&sum)[4], const int8_t* x, const uint8_t* w, const Tables<B>& table) {
  const Codes<B, UNIT> codes(x);
#pragma GCC unroll 4
  for (int v = 0; v < 4; v++) sum[v].template add<B, DEPTH, UNIT>(w + v * 16, codes, table);
}

// A group: 16 rows. DEPTH: how many products are added in 16 bits, which may take several steps.
template <int B, int DEPTH>
[[gnu::noinline]] void group_of(const uint8_t* w, const Row& row, int64_t steps, const Tables<B>& tables, int32_t* raw) {
  constexpr int UNIT = DEPTH > FIELDS<B> ? DEPTH / FIELDS<B> : 1;
  const Tables<B> table = tables;
  Sum sum[4];
  const int8_t* x = row.x;
  for (; steps >= UNIT; steps -= UNIT, x += UNIT * STEP<B>, w += UNIT * STEP_BYTES<B>) steps_of<B, DEPTH, UNIT>(sum, x, w, table);
  if constexpr (UNIT > 1)
    for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>) steps_of<B, FIELDS<B>, 1>(sum, x, w, table);
  const int32x4_t biased = vdupq_n_s32((int32_t)(128u * (uint32_t)row.sum));
#pragma GCC unroll 4
  for (int v = 0; v < 4; v++) vst1q_s32(raw + 4 * v, vaddq_s32(sum[v].total(), biased));
}

template <int B, int P>
inline void panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  for (int p = 0; p < P; p++) {
    const uint8_t* at = w + p * apart;
#if !defined(__ARM_FEATURE_DOTPROD)
    if (table.depth == 4) group_of<B, 4>(at, row, steps, table, raw + GROUP * p);
    else if (table.depth == 2) group_of<B, 2>(at, row, steps, table, raw + GROUP * p);
    else
#endif
    group_of<B, 1>(at, row, steps, table, raw + GROUP * p);
  }
}

template <int B> constexpr bool ON_GRIDS = false;  // whether indices are multiplied as they are

}  // namespace
