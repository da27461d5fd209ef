// Weights of one to four bits, made bytes a panel at a time: symbols are looked up in a table of 16 integers, the panel's own.
#pragma once

#include "dot.h"

namespace {

constexpr int64_t WORDS = 8;    // of four columns, whose symbols lie together
constexpr int64_t ENTRIES = 16;  // of a panel's table

struct Symbols {
#if defined(__AVX512F__)
  __m512i entries;
  explicit Symbols(const int8_t* table) : entries(_mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128((const __m128i*)table))) {}
  vi weights(vi symbols) const { return (vi)_mm512_shuffle_epi8(entries, (__m512i)symbols); }
#elif defined(__AVX2__)
  __m256i entries;
  explicit Symbols(const int8_t* table) : entries(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table))) {}
  vi weights(vi symbols) const { return (vi)_mm256_shuffle_epi8(entries, (__m256i)symbols); }
#elif defined(__aarch64__)
  int8x16_t entries;
  explicit Symbols(const int8_t* table) : entries(vld1q_s8(table)) {}
  vi weights(vi symbols) const { return (vi)vreinterpretq_s32_s8(vqtbl1q_s8(entries, vreinterpretq_u8_s32((int32x4_t)symbols))); }
#else
  const int8_t* entries;
  explicit Symbols(const int8_t* table) : entries(table) {}
  vi weights(vi symbols) const {
    int8_t bytes[4 * VL];
    storei(bytes, symbols);
    for (int i = 0; i < 4 * VL; i++) bytes[i] = entries[bytes[i]];
    return loadi(bytes);
  }
#endif
};

// The symbol at place `j` among those of `width` bits in each byte.
inline vi field(vi v, int width, int j) { return (v >> width * j) & splati(((1 << width) - 1) * 0x01010101); }

// Bytes that a panel of `words` words takes.
inline int64_t coded_bytes(int64_t words, int64_t bits) { return (words + WORDS - 1) / WORDS * 64 * bits; }

// A panel as bytes, [words rounded up to WORDS][16][4], with zeros in the columns from the `tail`-th of the last word on (0: it is whole).
[[gnu::noinline]] void decode_panel(const int8_t* from, const int8_t* table, int64_t bits, int64_t words, int64_t tail, int8_t* to) {
  const Symbols symbols(table);
  int8_t* out = to;
  for (int64_t k = 0; k < words; k += WORDS, from += 64 * bits, out += 64 * WORDS)
    for (int i = 0; i < 64; i += 4 * VL)
      for (int j = 0; j < WORDS; j++) {
        vi found;
        if (bits == 4) found = field(loadi(from + j / 2 * 64 + i), 4, j % 2);
        else if (bits == 1) found = field(loadi(from + i), 1, j);
        else found = field(loadi(from + j / 4 * 64 + i), 2, j % 4);
        if (bits == 3) found |= field(loadi(from + 128 + i), 1, j) << 2;
        storei(out + 64 * j + i, symbols.weights(found));
      }
  if (!tail) return;
  const vi kept = splati((int32_t)((1u << 8 * tail) - 1));
  for (int i = 0; i < 64; i += 4 * VL) storei(to + (words - 1) * 64 + i, loadi(to + (words - 1) * 64 + i) & kept);
}

}  // namespace
