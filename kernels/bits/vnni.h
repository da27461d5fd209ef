// Panels at the level with VNNI and VBMI: bytes are looked up in registers and go straight to vpdpbusd.
// vpermb looks at the low 6 bits of an index, so a table of 64 whose entry i is that of i's bits at a field's place reads
// this field without a mask; only what lies in bits 6 and 7 has to be shifted.
#pragma once

#include "rows.h"

namespace {

// Groups whose look-ups are made together.
template <int B> constexpr int TOGETHER = STEP_BYTES<B> == 192 ? 1 : 2;

inline __m512i four(const int8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, 4);
  return _mm512_set1_epi32(word);
}

// A load that stays one: compilers repeat loads as operands, and 64 bytes are two of them on some CPUs.
inline __m512i once(const uint8_t* p) {
  __m512i v = _mm512_loadu_si512(p);
  asm("" : "+v"(v));
  return v;
}

// at[f] reads field f of a byte.
template <int B>
struct Tables {
  __m512i at[B == 8 ? 1 : SEEN<B>];
  Tables(const uint8_t* entries, const Row&) {
    if constexpr (B < 8)
      for (int f = 0; f < SEEN<B>; f++) {
        uint8_t lookup[64];
        for (int i = 0; i < 64; i++) lookup[i] = entries[(i >> (B * f)) & ((1 << B) - 1)];
        at[f] = _mm512_loadu_si512(lookup);
      }
  }
};

template <int MASK>
inline __m512i merged(__m512i a, __m512i b) {  // a where the mask has ones, else b
  return _mm512_ternarylogic_epi32(_mm512_set1_epi8(MASK), a, b, 0xca);
}

// from[i]: bytes with SEEN fields in their low 6 bits.
template <int B>
inline void split(const uint8_t* w, __m512i* from) {
  if constexpr (STEP_BYTES<B> == 192) {
    for (int i = 0; i < 3; i++) from[i] = once(w + 64 * i);
    from[3] = merged<15>(merged<3>(_mm512_srli_epi16(from[0], 6), _mm512_srli_epi16(from[1], 4)), _mm512_srli_epi16(from[2], 2));
  } else {
    from[0] = once(w);
    from[1] = _mm512_srli_epi16(from[0], SEEN<B> * B);
  }
}

// Two fields of each of G groups at a time, of groups that begin `apart` bytes from each other: all their look-ups, then all their products.
// Zen 4 gives shifts to the port that has nothing else to do only if these do not stand among them (4 bits: 4 % less time).
template <int B, int G>
inline void fields(const uint8_t* w, int64_t apart, const int8_t* x, const Tables<B>& table, __m512i* sum) {
  __m512i from[G][4];
#pragma GCC unroll 2
  for (int g = 0; g < G; g++) split<B>(w + g * apart, from[g]);
#pragma GCC unroll 8
  for (int f = 0; f < FIELDS<B>; f += 2) {
    __m512i entries[2 * G];
#pragma GCC unroll 4
    for (int i = 0; i < 2 * G; i++) {
      const int field = f + i / G;
      entries[i] = _mm512_permutexvar_epi8(from[i % G][field / SEEN<B>], table.at[field % SEEN<B>]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 2 * G; i++) asm volatile("" : "+v"(entries[i]));  // made by now
#pragma GCC unroll 4
    for (int i = 0; i < 2 * G; i++) sum[i % G] = _mm512_dpbusd_epi32(sum[i % G], entries[i], four(x + 4 * (f + i / G)));
  }
}

// raw[GROUP * P]: sums of entries times codes. A group is a stream of its own, which each load reads 64 bytes at a time: what prefetchers
// know best (README.md).
template <int B, int P>
inline void panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  __m512i sum[P];
  for (int p = 0; p < P; p++) sum[p] = _mm512_setzero_si512();
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>) {
    if constexpr (B == 8) {
      for (int p = 0; p < P; p++) sum[p] = _mm512_dpbusd_epi32(sum[p], once(w + p * apart), four(x));
    } else {
#pragma GCC unroll 4
      for (int p = 0; p < P; p += TOGETHER<B>) {
        if (P - p >= TOGETHER<B>) fields<B, TOGETHER<B>>(w + p * apart, apart, x, table, sum + p);
        else fields<B, 1>(w + p * apart, apart, x, table, sum + p);
      }
    }
  }
  for (int p = 0; p < P; p++) _mm512_storeu_si512(raw + GROUP * p, sum[p]);
}

// Indices multiplied as they are, where tables are grids: field f stays where it lies in its byte, so that its products are 2^(B f) times too large and
// have sums of their own. No look-up: vpdpbusd alone bounds it, one cycle per vector of 64 weights on Zen 4.
template <int B> constexpr bool ON_GRIDS = B == 1 || B == 2 || B == 4;

inline void add_products(__m512i& sum, __m512i indices, __m512i codes) {
#if defined(__clang__)
  sum = _mm512_dpbusd_epi32(sum, indices, codes);
#else
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(indices), "v"(codes));  // GCC copies sums where there are many
#endif
}

template <int B, int P>
inline void grid_panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, int32_t* raw) {
  constexpr int SUMS = B == 4 ? 2 : 4;  // fields of a byte that have their own; of one bit, the upper four are shifted to where the lower four lie
  __m512i sum[P][SUMS];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++)
#pragma GCC unroll 4
    for (int f = 0; f < SUMS; f++) sum[p][f] = _mm512_setzero_si512();
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += 64) {
    __m512i from[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) from[p] = once(w + p * apart);
#pragma GCC unroll 2
    for (int f = 0; f < FIELDS<B>; f += SUMS) {
#pragma GCC unroll 4
      for (int g = 0; g < SUMS; g++) {
        const __m512i codes = four(x + 4 * (f + g)), mask = _mm512_set1_epi8((char)(((1 << B) - 1) << (B * g)));
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) add_products(sum[p][g], _mm512_and_si512(from[p], mask), codes);
      }
      if (f + SUMS < FIELDS<B>)
#pragma GCC unroll 4
        for (int p = 0; p < P; p++) from[p] = _mm512_srli_epi16(from[p], 4);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    __m512i all = sum[p][0];
#pragma GCC unroll 4
    for (int f = 1; f < SUMS; f++) all = _mm512_add_epi32(all, _mm512_srai_epi32(sum[p][f], B * f));
    _mm512_storeu_si512(raw + GROUP * p, all);
  }
}

}  // namespace
