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
    alignas(64) uint8_t first[64];  // of bytes 0 and 1 of two vectors of floats: where all bytes 0 are, then all bytes 1
    for (int i = 0; i < 64; i++) first[i] = (uint8_t)(i % 32 * 4 + i / 32);
    const __m512i lower = _mm512_load_si512(first), upper = _mm512_add_epi8(lower, _mm512_set1_epi8(2));
    for (int q = 0; q < PARTS; q++) {
      __m512i part[4];
      for (int i = 0; i < 4; i++) part[i] = _mm512_loadu_si512(table + 64 * q + 16 * i);
      const __m512i low01 = _mm512_permutex2var_epi8(part[0], lower, part[1]), low23 = _mm512_permutex2var_epi8(part[2], lower, part[3]);
      const __m512i high01 = _mm512_permutex2var_epi8(part[0], upper, part[1]), high23 = _mm512_permutex2var_epi8(part[2], upper, part[3]);
      planes[0][q] = _mm512_maskz_shuffle_i64x2(0xff, low01, low23, 0x44);
      planes[1][q] = _mm512_maskz_shuffle_i64x2(0xff, low01, low23, 0xee);
      planes[2][q] = _mm512_maskz_shuffle_i64x2(0xff, high01, high23, 0x44);
      planes[3][q] = _mm512_maskz_shuffle_i64x2(0xff, high01, high23, 0xee);
    }
  }

  // Byte b of the entries of 64 indices, of which permutes look at the low bits only.
  __m512i found(int b, __m512i index, [[maybe_unused]] __mmask64 upper) const {
    if constexpr (BITS == 6) return _mm512_permutexvar_epi8(index, planes[b][0]);
    const __m512i low = _mm512_permutex2var_epi8(planes[b][0], index, planes[b][1 % PARTS]);
    if constexpr (BITS == 7) return low;
    return _mm512_mask_mov_epi8(low, upper, _mm512_permutex2var_epi8(planes[b][2 % PARTS], index, planes[b][3 % PARTS]));
  }

  // 16 words whose lowest bits are four indices each, every index at the low end of a byte.
  static __m512i indices(__m512i words) {
    if constexpr (BITS == 8) return words;
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(places()), words);
  }

  // 64 indices to floats: in out[q], indices 4 q … 4 q + 3 of each 16.
  void floats(__m512i index, __m512 (&out)[4]) const {
    __mmask64 upper = 0;
    if constexpr (BITS == 8) upper = _mm512_movepi8_mask(index);
    __m512i byte[4];
    for (int b = 0; b < 4; b++) byte[b] = found(b, index, upper);
    const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]), low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]), high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    out[0] = (__m512)_mm512_unpacklo_epi16(low01, low23);
    out[1] = (__m512)_mm512_unpackhi_epi16(low01, low23);
    out[2] = (__m512)_mm512_unpacklo_epi16(high01, high23);
    out[3] = (__m512)_mm512_unpackhi_epi16(high01, high23);
  }

  // Of 16 words in out[q], the four of words q, 4 + q, 8 + q and 12 + q.
  void rows(__m512i words, __m512 (&out)[4]) const { floats(indices(words), out); }

  // In out[j], number j of each of 16 words.
  void columns(__m512i words, __m512 (&out)[4]) const {
    const __m512i exchanged = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    floats(_mm512_shuffle_epi8(indices(words), exchanged), out);
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
