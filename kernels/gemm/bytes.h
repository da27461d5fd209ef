// Look-ups in a table of 64, 128 or 256 floats, a byte of their values at a time: 64 indices take 2 to 8 permutes of bytes, where gathers load 64 times.
#pragma once

#include "simd.h"

#if defined(__AVX512VBMI__)
namespace {

// What a table leaves to be looked up. WHOLE: four bytes of each float. UPPER: two, as the others are zero (bfloat16). MIRRORED: two of the first 128
// of 256 entries, as the others are those with the other sign.
enum Entries { WHOLE, UPPER, MIRRORED };

template <int BITS>
Entries entries_of(const float* table) {
  constexpr int VECTORS = 1 << (BITS - 4);
  __m512i any = _mm512_setzero_si512(), unlike = any;
  for (int i = 0; i < VECTORS; i++) {
    const __m512i part = _mm512_loadu_si512(table + 16 * i), other = _mm512_loadu_si512(table + 16 * (i ^ VECTORS / 2));
    any = _mm512_or_si512(any, part);
    unlike = _mm512_or_si512(unlike, _mm512_xor_si512(_mm512_xor_si512(part, other), _mm512_set1_epi32(INT32_MIN)));
  }
  if (_mm512_test_epi32_mask(any, _mm512_set1_epi32(0xffff))) return WHOLE;
  return BITS == 8 && !_mm512_test_epi32_mask(unlike, unlike) ? MIRRORED : UPPER;
}

template <int BITS, Entries ENTRIES>
struct ByteTable {
  static constexpr bool IN_PAIRS = ENTRIES != WHOLE;
  static constexpr int FIRST = IN_PAIRS ? 2 : 0;  // of the bytes
  static constexpr int PARTS = 1 << (BITS - 6 - (ENTRIES == MIRRORED));
  __m512i planes[4][PARTS];  // byte b of entries 64 q … 64 q + 63

  explicit ByteTable(const float* table) {
    alignas(64) uint8_t first[64];  // of bytes 0 and 1 of two vectors of floats: where all bytes 0 are, then all bytes 1
    for (int i = 0; i < 64; i++) first[i] = (uint8_t)(i % 32 * 4 + i / 32);
    const __m512i begin = _mm512_load_si512(first);
    for (int q = 0; q < PARTS; q++) {
      __m512i part[4];
      for (int i = 0; i < 4; i++) part[i] = _mm512_loadu_si512(table + 64 * q + 16 * i);
      for (int b = FIRST; b < 4; b += 2) {
        const __m512i at = _mm512_add_epi8(begin, _mm512_set1_epi8((char)b));
        const __m512i low = _mm512_permutex2var_epi8(part[0], at, part[1]), high = _mm512_permutex2var_epi8(part[2], at, part[3]);
        planes[b][q] = _mm512_maskz_shuffle_i64x2(0xff, low, high, 0x44);
        planes[b + 1][q] = _mm512_maskz_shuffle_i64x2(0xff, low, high, 0xee);
      }
    }
  }

  // Byte b of the entries of 64 indices, of which permutes look at the low bits only. `upper`: the indices from 128 on.
  __m512i found(int b, __m512i index, [[maybe_unused]] __mmask64 upper) const {
    if constexpr (PARTS == 1) return _mm512_permutexvar_epi8(index, planes[b][0]);
    if constexpr (PARTS <= 2) return _mm512_permutex2var_epi8(planes[b][0], index, planes[b][1 % PARTS]);
    const __m512i half = _mm512_mask2_permutex2var_epi8(planes[b][2 % PARTS], index, upper, planes[b][3 % PARTS]);  // the other indices stay
    return _mm512_mask2_permutex2var_epi8(planes[b][0], half, ~upper, planes[b][1 % PARTS]);
  }

  // 16 words whose lowest bits are four indices each, every index at the low end of a byte.
  static __m512i indices(__m512i words) {
    if constexpr (BITS == 8) return words;
    return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(places()), words);
  }

  // 64 indices to floats. WHOLE: in out[q], indices 4 q … 4 q + 3 of each 16. IN_PAIRS: indices 0, 2, 4, 6, then 1, 3, 5, 7, then the same of the other eight.
  void floats(__m512i index, __m512 (&out)[4]) const {
    __mmask64 upper = 0;
    if constexpr (PARTS == 4) upper = _mm512_movepi8_mask(index);
    __m512i byte[4];
    for (int b = FIRST; b < 4; b++) byte[b] = found(b, index, upper);
    if constexpr (ENTRIES == MIRRORED) byte[3] = _mm512_ternarylogic_epi32(byte[3], index, _mm512_set1_epi8((char)0x80), 0x78);  // a ^ b & c
    const __m512i low23 = _mm512_unpacklo_epi8(byte[2], byte[3]), high23 = _mm512_unpackhi_epi8(byte[2], byte[3]);
    if constexpr (IN_PAIRS) {
      const __m512i above = _mm512_set1_epi32((int)0xffff0000);
      out[0] = (__m512)_mm512_slli_epi32(low23, 16);
      out[1] = (__m512)_mm512_and_si512(low23, above);
      out[2] = (__m512)_mm512_slli_epi32(high23, 16);
      out[3] = (__m512)_mm512_and_si512(high23, above);
    } else {
      const __m512i low01 = _mm512_unpacklo_epi8(byte[0], byte[1]), high01 = _mm512_unpackhi_epi8(byte[0], byte[1]);
      out[0] = (__m512)_mm512_unpacklo_epi16(low01, low23);
      out[1] = (__m512)_mm512_unpackhi_epi16(low01, low23);
      out[2] = (__m512)_mm512_unpacklo_epi16(high01, high23);
      out[3] = (__m512)_mm512_unpackhi_epi16(high01, high23);
    }
  }

  // Of 16 words in out[q], the four of words q, 4 + q, 8 + q and 12 + q. IN_PAIRS: out[0] has numbers 0 and 2 of words 0, 1, 4, 5, 8 …, out[1] numbers 1 and 3
  // of them, out[2] and out[3] those of the other words.
  void rows(__m512i words, __m512 (&out)[4]) const { floats(indices(words), out); }

  // In out[j], number j of each of 16 words.
  void columns(__m512i words, __m512 (&out)[4]) const {
    const __m128i exchanged = IN_PAIRS ? _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)
                                       : _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    floats(_mm512_shuffle_epi8(indices(words), _mm512_broadcast_i32x4(exchanged)), out);
  }

  // Where the indices of two words begin, a byte for each.
  static constexpr int64_t places() {
    uint64_t found = 0;
    for (int i = 0; i < 8; i++) found |= (uint64_t)(i / 4 * 32 + i % 4 * BITS) << (8 * i);
    return (int64_t)found;
  }
};

// Calls `use` with the table that fits these entries.
template <int BITS, class Use>
inline void with_table(const float* table, Use use) {
  const Entries entries = entries_of<BITS>(table);
  if (entries == WHOLE) return use(ByteTable<BITS, WHOLE>(table));
  if constexpr (BITS == 8)
    if (entries == MIRRORED) return use(ByteTable<BITS, MIRRORED>(table));
  use(ByteTable<BITS, UPPER>(table));
}

}  // namespace
#endif
