// Look-ups in a table of 64, 128 or 256 floats, a byte of their values at a time: 64 indices take 4 or 8 permutes of bytes, where gathers load 64 times.
#pragma once

#include "simd.h"

#if defined(__AVX512VBMI__)
namespace {

template <int BITS>
struct ByteTable {
  static constexpr int PARTS = 1 << (BITS - 6);
  __m512i planes[4][PARTS];  // byte b of entries 64 q … 64 q + 63

  explicit ByteTable(const float* table) {
    alignas(64) uint8_t bytes[4][64 * PARTS];
    for (int i = 0; i < 64 * PARTS; i += 16)
      for (int b = 0; b < 4; b++) {
        const __m512i shifted = (__m512i)(loadi(table + i) >> (8 * b));
        _mm_store_si128((__m128i*)(bytes[b] + i), _mm512_maskz_cvtepi32_epi8(0xffff, shifted));
      }
    for (int b = 0; b < 4; b++)
      for (int q = 0; q < PARTS; q++) planes[b][q] = _mm512_load_si512(bytes[b] + 64 * q);
  }

  // Byte b of the entries of 64 indices, of which permutes look at the low bits only.
  __m512i found(int b, __m512i index, [[maybe_unused]] __mmask64 upper) const {
    if constexpr (BITS == 6) return _mm512_permutexvar_epi8(index, planes[b][0]);
    const __m512i low = _mm512_permutex2var_epi8(planes[b][0], index, planes[b][1 % PARTS]);
    if constexpr (BITS == 7) return low;
    return _mm512_mask_mov_epi8(low, upper, _mm512_permutex2var_epi8(planes[b][2 % PARTS], index, planes[b][3 % PARTS]));
  }

  // 16 words whose lowest bits are four indices each to floats: in out[q], the four of words q, 4 + q, 8 + q and 12 + q.
  void rows(__m512i words, __m512 (&out)[4]) const {
    __mmask64 upper = 0;
    if constexpr (BITS == 8) upper = _mm512_movepi8_mask(words);
    else words = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(places()), words);  // every index at the low end of a byte
    __m512i byte[4];
    for (int b = 0; b < 4; b++) byte[b] = found(b, words, upper);
    const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]), low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]), high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    out[0] = (__m512)_mm512_unpacklo_epi16(low01, low23);
    out[1] = (__m512)_mm512_unpackhi_epi16(low01, low23);
    out[2] = (__m512)_mm512_unpacklo_epi16(high01, high23);
    out[3] = (__m512)_mm512_unpackhi_epi16(high01, high23);
  }

  // Where the indices of two words begin, a byte for each.
  static constexpr int64_t places() {
    uint64_t found = 0;
    for (int i = 0; i < 8; i++) found |= (uint64_t)(i / 4 * 32 + i % 4 * BITS) << (8 * i);
    return (int64_t)found;
  }
};

}  // namespace
#endif
