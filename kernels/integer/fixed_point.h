// Codes in fixed point (64-bit NEON: fixed_neon.h): int32 whose upper half is the code of a float, and whose lower half says how near a tie it lies.
#pragma once

#include "dot.h"

namespace {

typedef uint16_t vu __attribute__((vector_size(VL * 4)));

#if defined(__ARM_NEON)
constexpr float UNIT = 1.0f;  // of what becomes fixed point (finish.py): there conversions multiply by 2^16
#else
constexpr float UNIT = 65536.0f;
#endif

constexpr int32_t NATURAL = 128 - CODE_SHIFT;  // how much more the codes of this level are than those of int8: it has the sign that dot wants

// Taken by value where it is used: stores of bytes may be to anything that has an address.
struct FixedPoint {
  int32_t near;     // lower halves below it lie near a tie
  bool is_narrow;   // not all codes of NATURAL sign may be, or theirs is the other one
  vh low, high;     // those that may be; on x86 two of them in each lane, as they are clamped when they are bytes
  vi flip;

  // `width`: how near to a tie is near. `least`, `most`: codes of int8.
  FixedPoint(float width, int64_t least, int64_t most, bool is_unsigned)
      : near((int32_t)(width * 131072.0f) + 2), is_narrow(least > -128 || most < 127 || is_unsigned == CODES_ARE_SIGNED), low(lanes(least + NATURAL)),
        high(lanes(most + NATURAL)), flip(splati(is_unsigned == CODES_ARE_SIGNED ? (int32_t)0x80808080 : 0)) {}

  // What is added to x / s, so that rounding down makes codes, and those near a tie lie just above an integer. `zero`: of int8.
  static float offset(float width, int64_t zero) { return 0.5f + (float)(zero + NATURAL) + width; }

  // Of floats in UNIT. What does not fit (NaN, too) has a lower half of 0, or is the nearest that fits.
  [[gnu::always_inline]] static vi of(vf v) {
#if defined(__AVX512F__)
    return (vi)_mm512_maskz_cvtps_epi32(0xffff, (__m512)v);
#elif defined(__AVX2__)
    return (vi)_mm256_cvtps_epi32((__m256)v);
#elif defined(__SSE2__)
    return (vi)_mm_cvtps_epi32((__m128)v);
#elif defined(__ARM_NEON)
    return (vi)vcvtq_n_s32_f32((float32x4_t)v, 16);
#else
    const vi fits = (v < splat(0x1p30f)) & (v > splat(-0x1p30f));
    return __builtin_convertvector((vf)((vi)v & fits), vi);
#endif
  }

  // The smaller ones, half by half.
  [[gnu::always_inline]] static vu least(vu a, vi b) {
#if defined(__AVX512F__)
    return (vu)_mm512_min_epu16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vu)_mm256_min_epu16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vu)_mm_sub_epi16((__m128i)a, _mm_subs_epu16((__m128i)a, (__m128i)b));
#else
    return a < (vu)b ? a : (vu)b;
#endif
  }
  static vu most() { return (vu)splati(-1); }

  // Whether one of those whose least this is lies near a tie.
  [[gnu::always_inline]] bool is_near(vu found) const {
#if defined(__AVX512F__)
    return _mm512_mask_cmplt_epu16_mask(0x55555555, (__m512i)found, _mm512_set1_epi16((int16_t)near)) != 0;
#else
    const vi mask = ((vi)found & 0xffff) < splati(near);
#if defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((__m128)mask) != 0;
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
#endif
  }

  // Codes of four vectors: 16-byte part l has those of part l of a, b, c and d.
  [[gnu::always_inline]] vi bytes(vi a, vi b, vi c, vi d) const {
#if defined(__AVX512F__)
    return narrowed((vi)_mm512_packus_epi16(upper(a, b), upper(c, d)));
#elif defined(__AVX2__)
    const __m256i ab = _mm256_packs_epi32(_mm256_srai_epi32((__m256i)a, 16), _mm256_srai_epi32((__m256i)b, 16));
    const __m256i cd = _mm256_packs_epi32(_mm256_srai_epi32((__m256i)c, 16), _mm256_srai_epi32((__m256i)d, 16));
    return narrowed((vi)_mm256_packus_epi16(ab, cd));
#elif defined(__SSE2__)
    const __m128i ab = _mm_packs_epi32((__m128i)(a >> 16), (__m128i)(b >> 16)), cd = _mm_packs_epi32((__m128i)(c >> 16), (__m128i)(d >> 16));
    return narrowed((vi)_mm_packus_epi16(ab, cd));
#elif defined(__ARM_NEON)
    const int16x8_t ab = vcombine_s16(vshrn_n_s32((int32x4_t)a, 16), vshrn_n_s32((int32x4_t)b, 16));
    const int16x8_t cd = vcombine_s16(vshrn_n_s32((int32x4_t)c, 16), vshrn_n_s32((int32x4_t)d, 16));
    const int16x8_t first = vminq_s16(vmaxq_s16(ab, (int16x8_t)low), (int16x8_t)high), second = vminq_s16(vmaxq_s16(cd, (int16x8_t)low), (int16x8_t)high);
    return (vi)vcombine_s8(vmovn_s16(first), vmovn_s16(second)) ^ flip;
#else
    const vi parts[4] = {a >> 16, b >> 16, c >> 16, d >> 16};
    uint8_t found[4 * VL];
    for (int j = 0; j < 4; j++)
      for (int i = 0; i < VL; i++) found[4 * j + i] = (uint8_t)(parts[j][i] < low[0] ? low[0] : parts[j][i] > high[0] ? high[0] : parts[j][i]);
    return loadi(found) ^ flip;
#endif
  }

 private:
  static vh lanes(int64_t code) {
#if defined(__SSE2__)
    return (int16_t)(code * 257) - vh{};
#else
    return (int16_t)code - vh{};
#endif
  }
#if defined(__AVX512F__)
  // The upper halves of two vectors: 16-byte part l has those of part l of a and b.
  static __m512i upper(vi a, vi b) {
    const __m512i places = (__m512i)(vi){0x30001, 0x70005, 0x230021, 0x270025, 0xb0009, 0xf000d, 0x2b0029, 0x2f002d,
                                     0x130011, 0x170015, 0x330031, 0x370035, 0x1b0019, 0x1f001d, 0x3b0039, 0x3f003d};
    return _mm512_permutex2var_epi16((__m512i)a, places, (__m512i)b);
  }
#endif
#if defined(__SSE2__)
  [[gnu::always_inline]] vi narrowed(vi v) const {
    if (!is_narrow) return v;
#if defined(__AVX512F__)
    return (vi)_mm512_min_epu8(_mm512_max_epu8((__m512i)v, (__m512i)low), (__m512i)high) ^ flip;
#elif defined(__AVX2__)
    return (vi)_mm256_min_epu8(_mm256_max_epu8((__m256i)v, (__m256i)low), (__m256i)high) ^ flip;
#else
    return (vi)_mm_min_epu8(_mm_max_epu8((__m128i)v, (__m128i)low), (__m128i)high) ^ flip;
#endif
  }
#endif
};

}  // namespace
