// Panels at the level with VNNI and VBMI: bytes are looked up in registers and go straight to vpdpbusd.
// vpermb looks at the low 6 bits of an index, so a table of 64 whose entry i is that of i's bits at a field's place reads
// this field without a mask; only what lies in bits 6 and 7 has to be shifted.
#pragma once

#include "rows.h"

namespace {

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

// raw[GROUP * P]: sums of entries times codes.
template <int B, int P>
inline void panel(const uint8_t* w, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  __m512i sum[P];
  for (int p = 0; p < P; p++) sum[p] = _mm512_setzero_si512();
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += P * STEP_BYTES<B>) {
#pragma GCC unroll 16
    for (int b = 0; b < P * STEP_BYTES<B>; b += 64) _mm_prefetch((const char*)w + AHEAD + b, _MM_HINT_T0);
    if constexpr (B == 8) {
      for (int p = 0; p < P; p++) sum[p] = _mm512_dpbusd_epi32(sum[p], once(w + 64 * p), four(x));
    } else {
      __m512i from[P][4];
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) split<B>(w + p * STEP_BYTES<B>, from[p]);
#pragma GCC unroll 8
      for (int f = 0; f < FIELDS<B>; f++) {
        const __m512i xs = four(x + 4 * f);
#pragma GCC unroll 4
        for (int p = 0; p < P; p++)
          sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_permutexvar_epi8(from[p][f / SEEN<B>], table.at[f % SEEN<B>]), xs);
      }
    }
  }
  for (int p = 0; p < P; p++) _mm512_storeu_si512(raw + GROUP * p, sum[p]);
}

}  // namespace
