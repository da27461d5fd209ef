// Sums of products of four bytes at a time, exact modulo 2^32, and stores of bytes.
#pragma once

#include "apart.h"
#include "simd.h"

namespace {

typedef int16_t vh __attribute__((vector_size(VL * 4)));

[[maybe_unused]] inline vi splati(int32_t x) { return x - vi{}; }
inline int32_t load_word(const void* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}
inline void storei(void* p, vi v) { __builtin_memcpy(p, &v, sizeof v); }

// What is broadcast from memory, and not flipped before, which would lead it through a register of the other kind.
inline vi apart(vi x) { return (vi)apart((vf)x); }

// Lanes of four bytes as dot wants them: codes (X), unsigned but on ARM, and weights (W), signed.
#if defined(__ARM_NEON)
constexpr bool CODES_ARE_SIGNED = true;  // NEON multiplies bytes of one sign; the table's starts agree (ARM_LEVELS of kernels/isa.py)
#else
constexpr bool CODES_ARE_SIGNED = false;
#endif
constexpr int32_t CODE_SHIFT = CODES_ARE_SIGNED ? 128 : 0;  // how much less codes are than unsigned ones
inline int32_t flip_of(bool is_signed) { return is_signed == CODES_ARE_SIGNED ? 0 : (int32_t)0x80808080; }

#if defined(__AVX512VNNI__)
struct X { vi words; };
struct W { vi words; };
inline X unsigned_words(vi v) { return {v}; }
inline W signed_words(vi v) { return {v}; }
inline vi dot(vi sum, const X& x, const W& w) { return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x.words, (__m512i)w.words); }
#elif defined(__SSE2__)
// Pairs of 16-bit products, added in 32 bits: nothing saturates (vpmaddubsw would).
struct X { vh even, odd; };
struct W { vh even, odd; };
inline X unsigned_words(vi v) { return {(vh)(v & 0x00ff00ff), (vh)(((vi)v >> 8) & 0x00ff00ff)}; }
inline W signed_words(vi v) { return {(vh)((vh)v << 8) >> 8, (vh)v >> 8}; }
inline vi pairs(vh a, vh b) {
#if defined(__AVX512F__)
  return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
  return (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
}
inline vi dot(vi sum, const X& x, const W& w) { return sum + pairs(x.even, w.even) + pairs(x.odd, w.odd); }
#elif defined(__ARM_NEON)
struct X { int8x16_t bytes; };
struct W { int8x16_t bytes; };
inline X unsigned_words(vi v) { return {vreinterpretq_s8_s32((int32x4_t)v)}; }
inline W signed_words(vi v) { return {vreinterpretq_s8_s32((int32x4_t)v)}; }
// Sums of neighbours among the numbers of `low`, then among those of `high`.
[[maybe_unused]] inline vi added_in_pairs(int32x4_t low, int32x4_t high) {
#if defined(__aarch64__)
  return (vi)vpaddq_s32(low, high);
#else
  return (vi)vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)), vpadd_s32(vget_low_s32(high), vget_high_s32(high)));
#endif
}
inline vi dot(vi sum, const X& x, const W& w) {
#if defined(__ARM_FEATURE_DOTPROD)
  return (vi)vdotq_s32((int32x4_t)sum, x.bytes, w.bytes);
#else  // neighbours of neighbours: no product of two bytes leaves 16 bits
  return sum + added_in_pairs(vpaddlq_s16(vmull_s8(vget_low_s8(x.bytes), vget_low_s8(w.bytes))),
                              vpaddlq_s16(vmull_s8(vget_high_s8(x.bytes), vget_high_s8(w.bytes))));
#endif
}
#else
struct X { vi words; };
struct W { vi words; };
inline X unsigned_words(vi v) { return {v}; }
inline W signed_words(vi v) { return {v}; }
inline vi dot(vi sum, const X& x, const W& w) {
  sum += (x.words & 255) * ((w.words << 24) >> 24);
  sum += ((x.words >> 8) & 255) * ((w.words << 16) >> 24);
  sum += ((x.words >> 16) & 255) * ((w.words << 8) >> 24);
  return sum + ((x.words >> 24) & 255) * (w.words >> 24);
}
#endif

// Bytes of four vectors, of whose 16-byte parts each has some of all four, in the order a, b, c, d.
inline vi in_order(vi v) {
#if defined(__AVX512F__)
  return (vi)_mm512_maskz_permutexvar_epi32(0xffff, (__m512i)(vi){0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, (__m512i)v);
#elif defined(__AVX2__)
  return (vi)_mm256_permutevar8x32_epi32((__m256i)v, (__m256i)(vi){0, 4, 1, 5, 2, 6, 3, 7});
#else
  return v;
#endif
}

// The first n bytes (any n) of a vector.
inline void store_bytes(int8_t* to, vi v, int64_t n) {
  if (n >= 4 * VL) {
    storei(to, v);
    return;
  }
#if defined(__AVX512F__)
  if (n > 0) _mm512_mask_storeu_epi8(to, (__mmask64)((1ull << n) - 1), (__m512i)v);
#else
  int8_t bytes[4 * VL];
  storei(bytes, v);
  for (int64_t i = 0; i < n; i++) to[i] = bytes[i];
#endif
}

}  // namespace
