// How the kernels read weights in sell16: columns and values apart or in one word, tables in registers or in memory.
#pragma once

#include "one.h"
#include "sell.h"

namespace {

// Values and the columns they stand in, of VL rows.
struct Lanes {
  vi column;
  vf value;
};

// How values that lie apart from their columns are read: `lanes` gives VL of a slot's values. `lane` counts from the slice's first row.
struct PlainF32 {
  const float* v;
  PlainF32(const Sell* m, int64_t) : v((const float*)(m->base() + m->values)) {}
  vf lanes(int64_t slot, int lane) const { return load(v + slot * ROWS + lane); }
};

struct PlainF16 {
  const uint16_t* v;
  PlainF16(const Sell* m, int64_t) : v((const uint16_t*)(m->base() + m->values)) {}
  vf lanes(int64_t slot, int lane) const {
    const uint16_t* p = v + slot * ROWS + lane;
#if defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#elif defined(__ARM_NEON)
    return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
    return of_lanes([&](int i) { return half(p[i]); });
#endif
  }
};

constexpr float SIGNS[] = {-1.0f, 1.0f};  // a choice by ?: would be a branch, mispredicted half of the time

// Signs: one bit per row of a slot.
struct Signs {
  const uint16_t* v;
  Signs(const Sell* m, int64_t) : v((const uint16_t*)(m->base() + m->values)) {}
  vf lanes(int64_t slot, [[maybe_unused]] int lane) const {
#if defined(__AVX512F__)
    return (vf)_mm512_mask_blend_ps((__mmask16)v[slot], _mm512_set1_ps(-1.0f), _mm512_set1_ps(1.0f));
#else
    vi bit;
    for (int i = 0; i < VL; i++) bit[i] = 1 << i;
    const vi held = ((v[slot] >> lane) & bit) != 0;
    return held ? splat(1.0f) : splat(-1.0f);
#endif
  }
};

// Codebook indices: one byte each.
template <typename Decode>
struct Bytes {
  const uint8_t* v;
  Decode decode;
  Bytes(const Sell* m, int64_t slice) : v((const uint8_t*)(m->base() + m->values)), decode(m, slice) {}
  vf lanes(int64_t slot, int lane) const {
#if defined(__AVX2__)
    return decode.lanes(widen(v + slot * ROWS + lane), lane);
#else
    return of_lanes([&](int i) { return one(slot, lane + i); });
#endif
  }
  float one(int64_t slot, int lane) const { return decode.one(v[slot * ROWS + lane], lane); }
};

// What symbols (codebook indices, or signs) stand for. `lanes` is for levels with gathers; MASKED: it wants nothing above a
// symbol's bits. `one` never does.

// One table of ENTRIES, a power of two, in registers. Bits above a symbol's own do not matter: a shorter table is repeated.
template <int ENTRIES>
struct SmallTable {
  const float* table;
  static uint32_t bits(const Sell* m) { return (uint32_t)m->symbol_bits; }
  float one(uint32_t symbol, int) const { return table[symbol]; }
#if defined(__AVX2__)
  vf part[ENTRIES / VL];
  static constexpr bool MASKED = false;
  SmallTable(const Sell* m, int64_t) : table((const float*)(m->base() + m->tables)) {
    for (int i = 0; i < ENTRIES / VL; i++) part[i] = load(table + i * VL);
  }
#if defined(__AVX512F__)
  vf lanes(vi symbol, int) const { return among<ENTRIES>(part, symbol); }
  // The entry out of N of them that the symbol's low bits name: 32 in one instruction, more by halves.
  template <int N>
  static vf among(const vf* in, vi symbol) {
    if constexpr (N == 32) {
      return (vf)_mm512_permutex2var_ps((__m512)in[0], (__m512i)symbol, (__m512)in[1]);
    } else {
      const __m512 low = (__m512)among<N / 2>(in, symbol), high = (__m512)among<N / 2>(in + N / 2 / VL, symbol);
      return (vf)_mm512_mask_blend_ps(_mm512_test_epi32_mask((__m512i)symbol, _mm512_set1_epi32(N / 2)), low, high);
    }
  }
#else
  vf lanes(vi symbol, int) const {
    static_assert(ENTRIES == 16, "further halves would take longer than a gather");
    const __m256i at = (__m256i)symbol;
    const __m256 low = _mm256_permutevar8x32_ps((__m256)part[0], at), high = _mm256_permutevar8x32_ps((__m256)part[1], at);
    return (vf)_mm256_blendv_ps(low, high, (__m256)(symbol << 28));
  }
#endif
#else
  SmallTable(const Sell* m, int64_t) : table((const float*)(m->base() + m->tables)) {}
#endif
};

// Any number of tables; `bases` says where that of a row begins.
struct Tables {
  const float* table;
  const int32_t* base;
  static uint32_t bits(const Sell* m) { return (uint32_t)m->symbol_bits; }
  static constexpr bool MASKED = true;
  Tables(const Sell* m, int64_t slice)
      : table((const float*)(m->base() + m->tables)), base((const int32_t*)(m->base() + m->bases) + slice * ROWS) {}
  vf lanes(vi symbol, int lane) const { return gather(table, symbol + loadi(base + lane)); }
  float one(uint32_t symbol, int lane) const { return table[base[lane] + (int64_t)symbol]; }
};

// A symbol's lowest bit: 1 for +1, 0 for -1.
struct SignBit {
  static uint32_t bits(const Sell*) { return 1; }
  static constexpr bool MASKED = false;
  SignBit(const Sell*, int64_t) {}
  vf lanes(vi symbol, int) const { return (vf)((symbol << 31) ^ (vi)splat(-1.0f)); }
  float one(uint32_t symbol, int) const { return SIGNS[symbol]; }
};

// How weights are read: columns apart from values …
template <typename Index, typename Value>
struct Apart {
  const Index* index;
  Value value;
  Apart(const Sell* m, int64_t slice) : index((const Index*)(m->base() + m->index)), value(m, slice) {}
  Lanes lanes(int64_t slot, int lane) const { return {widen(index + slot * ROWS + lane), value.lanes(slot, lane)}; }
};

// … or both in one word, the symbol in its low bits: a decoder that looks at no others needs no mask, and the column one shift.
template <typename Decode>
struct Packed {
  const uint16_t* word;
  uint32_t bits, mask;
  Decode decode;
  Packed(const Sell* m, int64_t slice)
      : word((const uint16_t*)(m->base() + m->index)), bits(Decode::bits(m)), mask((1u << bits) - 1), decode(m, slice) {}
  Lanes lanes(int64_t slot, int lane) const {
#if defined(__AVX2__)
    const vi words = widen(word + slot * ROWS + lane);
    return {shifted(words), decode.lanes(Decode::MASKED ? words & (int32_t)mask : words, lane)};
#else
    const vi words = widen(word + slot * ROWS + lane);
    const vi column = {words[0] >> bits, words[1] >> bits, words[2] >> bits, words[3] >> bits};
    return {column, of_lanes([&](int i) { return decode.one((uint32_t)words[i] & mask, lane + i); })};
#endif
  }
#if defined(__AVX2__)
  // With a vector of counts a shift is one instruction, with one count for all it would be two.
  vi shifted(vi words) const {
#if defined(__AVX512F__)
    return (vi)_mm512_srlv_epi32((__m512i)words, _mm512_set1_epi32((int32_t)bits));
#else
    return (vi)_mm256_srlv_epi32((__m256i)words, _mm256_set1_epi32((int32_t)bits));
#endif
  }
#endif
};

// Calls `run` with how the packed weight is to be read, as Of<Apart<…>> or Of<Packed<…>>.
template <typename Weights>
struct Of {};

template <typename Value, typename Run>
inline void with_index(const Sell* m, const Run& run) {
  if (m->wide_index)
    run(Of<Apart<uint32_t, Value>>());
  else
    run(Of<Apart<uint16_t, Value>>());
}

template <typename Run>
inline void with_signs(const Sell* m, const Run& run) {
  if (m->values)
    with_index<Signs>(m, run);
  else
    run(Of<Packed<SignBit>>());
}

template <typename Decode, typename Run>
inline void with_table(const Sell* m, const Run& run) {
  if (m->values)
    with_index<Bytes<Decode>>(m, run);
  else
    run(Of<Packed<Decode>>());
}

template <typename Run>
inline void with_codebook(const Sell* m, const Run& run) {
  const int64_t entries = m->one_table ? m->one_table : INT64_MAX;
#if defined(__AVX512F__)
  if (entries <= 32) return with_table<SmallTable<32>>(m, run);
  if (entries <= 64) return with_table<SmallTable<64>>(m, run);
  if (entries <= 128) return with_table<SmallTable<128>>(m, run);
  if (entries <= 256) return with_table<SmallTable<256>>(m, run);
#else
  if (entries <= 16) return with_table<SmallTable<16>>(m, run);
#endif
  with_table<Tables>(m, run);
}

}  // namespace
