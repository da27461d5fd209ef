// Panels at the level with VNNI and VBMI: bytes are looked up in registers and go straight to vpdpbusd.
// vpermb looks at the low 6 bits of an index, so a table of 64 whose entry i is that of i's bits at a field's place reads
// this field without a mask; only what lies in bits 6 and 7 has to be shifted.
#pragma once

#include "rows.h"

namespace {

// In what order a step's fields are looked up and multiplied: fields of so many groups take turns; after each CHUNK look-ups come the products
// of the chunk BEHIND before. Zen 4 binds instructions to ports as they come, so the order decides how evenly (README.md).
template <int B> struct Order { static constexpr int TOGETHER = 2, CHUNK = B == 4 ? 4 : 1, BEHIND = B == 4 ? 0 : 2; };
template <> struct Order<3> { static constexpr int TOGETHER = 1, CHUNK = FIELDS<3>, BEHIND = 1; };
template <> struct Order<6> { static constexpr int TOGETHER = 1, CHUNK = FIELDS<6>, BEHIND = 1; };
constexpr int SUMS = 2;  // of a group: products wait for those before in the same sum, four cycles

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

inline void add_products(__m512i& sum, __m512i indices, __m512i codes) {
#if defined(__clang__)
  sum = _mm512_dpbusd_epi32(sum, indices, codes);
#else
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(indices), "v"(codes));  // GCC copies sums where there are many
#endif
}

// Four codes times the four bytes of each lane.
inline void add_products_of_four(__m512i& sum, __m512i entries, const int8_t* codes) {
#if defined(__clang__)
  sum = _mm512_dpbusd_epi32(sum, entries, four(codes));
#else
  typedef int32_t word __attribute__((may_alias, aligned(1)));
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(entries), "m"(*(const word*)codes));
#endif
}

// from[i]: bytes with SEEN fields in their low 6 bits.
template <int B>
inline void split(const uint8_t* w, __m512i* from) {
  if constexpr (STEP_BYTES<B> == 192) {
    for (int i = 0; i < 3; i++) from[i] = once(w + 64 * i);
    from[3] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(from[0], 2), _mm512_srli_epi16(from[1], 4), _mm512_srli_epi16(from[2], 6), 0x96);  // xor
  } else {
    from[0] = once(w);
    from[1] = _mm512_srli_epi16(from[0], SEEN<B> * B);
  }
}

// What look-up i of a step of P groups is: the first of the groups that take turns, how many they are, group and field.
template <int B, int P>
struct Place {
  static constexpr int ALL = P * FIELDS<B>;
  static constexpr int first(int i) { return i / (Order<B>::TOGETHER * FIELDS<B>) * Order<B>::TOGETHER; }
  static constexpr int together(int i) { return P - first(i) < Order<B>::TOGETHER ? P - first(i) : Order<B>::TOGETHER; }
  static constexpr int group(int i) { return first(i) + (i - first(i) * FIELDS<B>) % together(i); }
  static constexpr int field(int i) { return (i - first(i) * FIELDS<B>) / together(i); }
  static constexpr int end(int chunk) { return (chunk + 1) * Order<B>::CHUNK < ALL ? (chunk + 1) * Order<B>::CHUNK : ALL; }
};

// Recursion, since GCC keeps arrays in memory that loops index.
template <int B, int P, int I, int END>
__attribute__((always_inline)) inline void look_up(const uint8_t* w, int64_t apart, const Tables<B>& table, __m512i (&from)[P][4],
                                                   __m512i (&entries)[P * FIELDS<B>]) {
  if constexpr (I < END) {
    typedef Place<B, P> At;
    constexpr int group = At::group(I), field = At::field(I), first = At::first(I);
    if constexpr (field == 0 && group == first) {
      split<B>(w + first * apart, from[first]);
      if constexpr (At::together(I) > 1) split<B>(w + (first + 1) * apart, from[first + 1]);
    }
    entries[I] = _mm512_permutexvar_epi8(from[group][field / SEEN<B>], table.at[field % SEEN<B>]);
    look_up<B, P, I + 1, END>(w, apart, table, from, entries);
    asm volatile("" : "+v"(entries[I]));  // made by now
  }
}

template <int B, int P, int I, int END>
__attribute__((always_inline)) inline void multiply(const int8_t* x, const __m512i (&entries)[P * FIELDS<B>], __m512i (&sum)[P][SUMS]) {
  if constexpr (I < END) {
    constexpr int field = Place<B, P>::field(I);
    add_products_of_four(sum[Place<B, P>::group(I)][field % SUMS], entries[I], x + 4 * field);
    multiply<B, P, I + 1, END>(x, entries, sum);
  }
}

template <int B, int P, int C = 0>
__attribute__((always_inline)) inline void step(const uint8_t* w, int64_t apart, const int8_t* x, const Tables<B>& table, __m512i (&from)[P][4],
                                                __m512i (&entries)[P * FIELDS<B>], __m512i (&sum)[P][SUMS]) {
  constexpr int CHUNK = Order<B>::CHUNK, BEHIND = Order<B>::BEHIND, CHUNKS = (P * FIELDS<B> + CHUNK - 1) / CHUNK;
  if constexpr (C < CHUNKS) look_up<B, P, C * CHUNK, Place<B, P>::end(C)>(w, apart, table, from, entries);
  if constexpr (C >= BEHIND) multiply<B, P, (C - BEHIND) * CHUNK, Place<B, P>::end(C - BEHIND)>(x, entries, sum);
  if constexpr (C + 1 < CHUNKS + BEHIND) step<B, P, C + 1>(w, apart, x, table, from, entries, sum);
}

// raw[GROUP * P]: sums of entries times codes. A group is a stream of its own, which each load reads 64 bytes at a time: what prefetchers
// know best (README.md).
template <int B, int P>
inline void panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  const int8_t* x = row.x;
  if constexpr (B == 8) {
    __m512i sum[P];
    for (int p = 0; p < P; p++) sum[p] = _mm512_setzero_si512();
    for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>)
      for (int p = 0; p < P; p++) sum[p] = _mm512_dpbusd_epi32(sum[p], once(w + p * apart), four(x));
    for (int p = 0; p < P; p++) _mm512_storeu_si512(raw + GROUP * p, sum[p]);
  } else {
    __m512i sum[P][SUMS];
    for (int p = 0; p < P; p++) sum[p][0] = sum[p][1] = _mm512_setzero_si512();
    for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>) {
      __m512i from[P][4], entries[P * FIELDS<B>];
      step<B, P>(w, apart, x, table, from, entries, sum);
    }
    for (int p = 0; p < P; p++) _mm512_storeu_si512(raw + GROUP * p, _mm512_add_epi32(sum[p][0], sum[p][1]));
  }
}

// Indices multiplied as they are, where tables are grids: field f stays where it lies in its byte, so that its products are 2^(B f) times too large and
// have sums of their own. No look-up: vpdpbusd alone bounds it, one cycle per vector of 64 weights on Zen 4 (3 bits: 1.4).
template <int B> constexpr bool ON_GRIDS = B <= 4;

template <int B, int P>
inline void grid_panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, int32_t* raw) {
  constexpr int SUMS = B < 3 ? 4 : 2;  // fields of a byte that have their own; of one bit, the upper four are shifted to where the lower four lie
  __m512i sum[P][SUMS];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++)
#pragma GCC unroll 4
    for (int f = 0; f < SUMS; f++) sum[p][f] = _mm512_setzero_si512();
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>) {
    if constexpr (B == 3) {
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) {
        __m512i from[4];
        split<B>(w + p * apart, from);
#pragma GCC unroll 8
        for (int f = 0; f < FIELDS<B>; f++)
          add_products_of_four(sum[p][f % SUMS], _mm512_and_si512(from[f / SUMS], _mm512_set1_epi8((char)(7 << (B * (f % SUMS))))), x + 4 * f);
      }
    } else {
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
