// Look-ups in a table of 256 floats, a byte of their values at a time: 64 indices take 8 permutes of bytes, where gathers load 64 times.
#pragma once

#include "simd.h"

#if defined(__AVX512VBMI__)
namespace {

struct ByteTable {
  __m512i planes[4][4];  // byte b of entries 64 q … 64 q + 63

  explicit ByteTable(const float* table) {
    alignas(64) uint8_t bytes[4][256];
    for (int i = 0; i < 256; i += 16)
      for (int b = 0; b < 4; b++) {
        const __m512i shifted = (__m512i)(loadi(table + i) >> (8 * b));
        _mm_store_si128((__m128i*)(bytes[b] + i), _mm512_maskz_cvtepi32_epi8(0xffff, shifted));
      }
    for (int b = 0; b < 4; b++)
      for (int q = 0; q < 4; q++) planes[b][q] = _mm512_load_si512(bytes[b] + 64 * q);
  }

  // 16 words of four indices each to floats: in out[q], the four of words q, 4 + q, 8 + q and 12 + q.
  void rows(__m512i words, __m512 (&out)[4]) const {
    const __mmask64 upper = _mm512_movepi8_mask(words);
    __m512i byte[4];
    for (int b = 0; b < 4; b++) {
      const __m512i low = _mm512_permutex2var_epi8(planes[b][0], words, planes[b][1]);
      byte[b] = _mm512_mask_mov_epi8(low, upper, _mm512_permutex2var_epi8(planes[b][2], words, planes[b][3]));
    }
    const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]), low23 = _mm512_unpacklo_epi8(byte[2], byte[3]);
    const __m512i high01 = _mm512_unpackhi_epi8(byte[0], byte[1]), high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    out[0] = (__m512)_mm512_unpacklo_epi16(low01, low23);
    out[1] = (__m512)_mm512_unpackhi_epi16(low01, low23);
    out[2] = (__m512)_mm512_unpacklo_epi16(high01, high23);
    out[3] = (__m512)_mm512_unpackhi_epi16(high01, high23);
  }
};

}  // namespace
#endif
