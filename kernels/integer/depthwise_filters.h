// Sums of a depthwise convolution of codes: four taps of a row of the filter at a time, for filters of 3 × 3 and for any others.
#pragma once

#include "depthwise_ends.h"

namespace {

inline vi zip(vi a, vi b, bool upper, bool wide) {
#if defined(__AVX512F__)
  const __m512i x = (__m512i)a, y = (__m512i)b;
  return (vi)(wide ? (upper ? _mm512_unpackhi_epi16(x, y) : _mm512_unpacklo_epi16(x, y)) : (upper ? _mm512_unpackhi_epi8(x, y) : _mm512_unpacklo_epi8(x, y)));
#elif defined(__AVX2__)
  const __m256i x = (__m256i)a, y = (__m256i)b;
  return (vi)(wide ? (upper ? _mm256_unpackhi_epi16(x, y) : _mm256_unpacklo_epi16(x, y)) : (upper ? _mm256_unpackhi_epi8(x, y) : _mm256_unpacklo_epi8(x, y)));
#elif defined(__SSE2__)
  const __m128i x = (__m128i)a, y = (__m128i)b;
  return (vi)(wide ? (upper ? _mm_unpackhi_epi16(x, y) : _mm_unpacklo_epi16(x, y)) : (upper ? _mm_unpackhi_epi8(x, y) : _mm_unpacklo_epi8(x, y)));
#elif defined(__ARM_NEON)
  if (wide) {
    const int16x8x2_t pairs = vzipq_s16((int16x8_t)a, (int16x8_t)b);
    return (vi)pairs.val[upper];
  }
  const int8x16x2_t bytes = vzipq_s8((int8x16_t)a, (int8x16_t)b);
  return (vi)bytes.val[upper];
#else
  const int size = wide ? 2 : 1;
  int8_t from[2][16], to[16];
  storei(from[0], a);
  storei(from[1], b);
  for (int i = 0; i < 16; i++) to[i] = from[i / size % 2][(upper ? 8 : 0) + i / (2 * size) * size + i % size];
  return loadi(to);
#endif
}

// The four bytes of each lane: what four taps see of one channel. Part i of vector j has channels 16 i + 4 j and three more.
[[gnu::always_inline]] inline void interleave(vi a, vi b, vi c, vi d, X (&x)[4]) {
  const vi ab = zip(a, b, false, false), AB = zip(a, b, true, false), cd = zip(c, d, false, false), CD = zip(c, d, true, false);
  x[0] = unsigned_words(zip(ab, cd, false, true));
  x[1] = unsigned_words(zip(ab, cd, true, true));
  x[2] = unsigned_words(zip(AB, CD, false, true));
  x[3] = unsigned_words(zip(AB, CD, true, true));
}

#if defined(__SSE2__) && !defined(__AVX512VNNI__)
constexpr bool WIDENS = true;  // weights are widened once for all rows of a chunk
#else
constexpr bool WIDENS = false;
#endif

// A chunk's weights, [row of the filter][quad of taps][4][CHUNK], and what its sums begin with, [4][VL].
struct Weights {
  const int8_t* w;
  const int32_t* start;
  const W* wide;  // the weights, if WIDENS
  vi first(int j) const { return loadi(start + j * VL); }
  W at(int64_t i) const { return WIDENS ? wide[i] : signed_words(loadi(w + i * CHUNK)); }
};

// How a filter takes the end of its sums: its numbers in registers, or where loads cost less than registers do, in memory.
#if defined(__aarch64__)
template <typename End>
using Taken = End&;
#else
template <typename End>
using Taken = End;
#endif

template <typename End>
uint64_t any_filter(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, Taken<End> end);

#if defined(__aarch64__) && !defined(__ARM_FEATURE_DOTPROD)
// Rows of one chunk of a filter of 3 × 3, without dot products: tap by tap, two products added in 16 bits. `fits` unless two weights that meet are -128.
struct Taps {
  int8x16_t w[9];
  bool fits;
  explicit Taps(const Weights& weights) {
#pragma GCC unroll 3
    for (int h = 0; h < 3; h++) {
      const int8x16x4_t four = vld4q_s8(weights.w + 4 * h * CHUNK);
#pragma GCC unroll 3
      for (int t = 0; t < 3; t++) w[3 * h + t] = four.val[t];
    }
    int8x16_t larger = vdupq_n_s8(127);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) larger = vminq_s8(larger, vmaxq_s8(w[i], w[i + 1]));
    fits = vminvq_s8(larger) > -128;
  }
};
template <int STRIDE, typename End>
[[gnu::noinline]] uint64_t rolled(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, Taken<End> end) {
  const Taps taps(weights);
  if (!taps.fits) return any_filter<End>(l, weights, x, count, end);
  const int64_t places[3] = {0, l.taps_at[1], l.taps_at[2]}, step = l.row_bytes;
  const vi start[4] = {weights.first(0), weights.first(1), weights.first(2), weights.first(3)};
  for (int64_t o = 0; o < count; o++, x += STRIDE * step) {
    int32x4_t sum[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sum[j] = (int32x4_t)start[j];
#pragma GCC unroll 5
    for (int k = 0; k < 9; k += 2) {
      const int8x16_t a = vld1q_s8(x + k / 3 * step + places[k % 3]);
      int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(taps.w[k])), high = vmull_high_s8(a, taps.w[k]);
      if (k < 8) {
        const int8x16_t b = vld1q_s8(x + (k + 1) / 3 * step + places[(k + 1) % 3]);
        low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(taps.w[k + 1]));
        high = vmlal_high_s8(high, b, taps.w[k + 1]);
      }
      sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
      sum[1] = vaddw_high_s16(sum[1], low);
      sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
      sum[3] = vaddw_high_s16(sum[3], high);
    }
    const vi sums[4] = {(vi)sum[0], (vi)sum[1], (vi)sum[2], (vi)sum[3]};
    end(sums, o);
  }
  return end.near;
}
#else
// Rows of one chunk of a filter of 3 × 3: weights stay in registers and each row is interleaved once. Nothing is called here, as that would send
// all registers to memory.
template <int STRIDE, typename End>
[[gnu::noinline]] uint64_t rolled(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, Taken<End> end) {
  const int64_t t1 = l.taps_at[1], t2 = l.taps_at[2], step = l.row_bytes;
  W w[3][4];
#pragma GCC unroll 3
  for (int h = 0; h < 3; h++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) w[h][j] = signed_words(loadi(weights.w + (4 * h + j) * CHUNK));
  X taps[4];
  vi now[4], next[4];
  const auto read = [&]() __attribute__((always_inline)) {
    const vi a = loadi(x);
    interleave(a, loadi(x + t1), loadi(x + t2), a, taps);
    x += step;
  };
#define THIN_ADD(sums, from, h) _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sums[j] = dot(from, taps[j], w[h][j])
  read();
  THIN_ADD(now, weights.first(j), 0);
  if (STRIDE == 1) {
    read();
    THIN_ADD(now, now[j], 1);
    THIN_ADD(next, weights.first(j), 0);
  }
  int64_t o = 0;
#if defined(__ARM_NEON)
  if (STRIDE == 1)
    for (; o + 2 <= count; o += 2) {  // sums of two rows change places: nothing is copied
      read();
      THIN_ADD(now, now[j], 2);
      end(now, o);
      THIN_ADD(next, next[j], 1);
      THIN_ADD(now, weights.first(j), 0);
      read();
      THIN_ADD(next, next[j], 2);
      end(next, o + 1);
      THIN_ADD(now, now[j], 1);
      THIN_ADD(next, weights.first(j), 0);
    }
#endif
  for (; o < count; o++) {
    if (STRIDE == 2) {
      read();
      THIN_ADD(now, now[j], 1);
    }
    read();
    THIN_ADD(now, now[j], 2);
    end(now, o);
    if (STRIDE == 1) {
      THIN_ADD(now, next[j], 1);
      THIN_ADD(next, weights.first(j), 0);
    } else {
      THIN_ADD(now, weights.first(j), 0);
    }
  }
#undef THIN_ADD
  return end.near;
}
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TOGETHER = 4;  // output rows at a time, by how many sums the registers hold
#else
constexpr int TOGETHER = 2;
#endif
// Rows [o, o + ROWS) of a chunk of any filter; each row of the input that several of them read is interleaved once.
template <int ROWS, typename End>
[[gnu::always_inline]] inline void some_rows(const Layer& l, const Weights& weights, const int8_t* x, int64_t o, End& end) {
  const int64_t* p = l.p;
  const int64_t step = l.row_bytes * (ROWS == 1 ? p[DH] : 1), stride = p[SH], height = p[KH], quads = l.quads;
  vi sums[ROWS][4];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sums[r][j] = weights.first(j);
  x += o * stride * l.row_bytes;
  for (int64_t i = 0; i < (ROWS - 1) * stride + height; i++, x += step)
    for (int64_t q = 0; q < quads; q++) {
      const int64_t* to = l.taps_at + 4 * q;
      const int64_t there = p[KW] - 4 * q;
      const vi first = loadi(x + to[0]);
      X taps[4];
      if (there >= 3) interleave(first, loadi(x + to[1]), loadi(x + to[2]), loadi(x + to[3]), taps);
      else interleave(first, there == 2 ? loadi(x + to[1]) : first, first, first, taps);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) {
        const int64_t h = i - r * stride, at = (h * quads + q) * 4;
        if (h < 0 || h >= height) continue;
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[r][j] = dot(sums[r][j], taps[j], weights.at(at + j));
      }
    }
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++) end(sums[r], o + r);
}

// All rows of a chunk.
template <typename End>
[[gnu::noinline]] uint64_t any_filter(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, Taken<End> end) {
  int64_t o = 0;
  if (l.p[DH] == 1) {
    for (; o + TOGETHER <= count; o += TOGETHER) some_rows<TOGETHER>(l, weights, x, o, end);
    if (TOGETHER > 3 && o + 3 <= count) {
      some_rows<3>(l, weights, x, o, end);
      o += 3;
    }
    if (TOGETHER > 2 && o + 2 <= count) {
      some_rows<2>(l, weights, x, o, end);
      o += 2;
    }
  }
  for (; o < count; o++) some_rows<1>(l, weights, x, o, end);
  return end.near;
}

template <typename End>
inline uint64_t chunk_of(const Layer& l, bool rolls, const Weights& weights, const int8_t* x, int64_t count, End& end) {
  if (!rolls) return any_filter<End>(l, weights, x, count, end);
  return l.p[SH] == 1 ? rolled<1, End>(l, weights, x, count, end) : rolled<2, End>(l, weights, x, count, end);
}

}  // namespace
