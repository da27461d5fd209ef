// The packed layout window16 (README.md: byte by byte): panels of 16 rows; a slot holds one weight of each row, whose input is named by
// its place in a short window of x. So a look-up in registers finds it.
#pragma once

#include "../gemm/decode.h"
#include "kernel.h"
#include "simd.h"

namespace {

// Header of a packed weight; offsets in bytes from its start.
struct Windows {
  int64_t panels, together;  // panels of 16 rows; so many of them (or 1) have their slots side by side
  int64_t bits, per_word;    // of a place in a window: 4, 5 or 6; slots of a word, or by bytes such as follow each other in one window
  int64_t entries;           // of the codebook if all rows share it and it has at most 32, else 0
  int64_t slots;             // of each panel, if all have the same windows, else 0
  int64_t rows, starts, bases, masks, words, values, tables, places;

  const char* base() const { return (const char*)this; }
  bool elastic() const { return slots == 0; }
  // First slot of a panel: a multiple of per_word.
  int64_t start(int64_t panel) const {
    return elastic() ? ((const uint32_t*)(base() + starts))[panel] : panel * ((slots + per_word - 1) / per_word * per_word);
  }
  // Slots of an elastic panel.
  int64_t count(int64_t panel) const { return ((const uint32_t*)(base() + starts))[panels + 1 + panel]; }
};

// Bits of slot k's place and codebook index in a word of `per` slots, as Encoding.fields in windows.py says. `code`: bits of an index that is looked
// up in registers, at most; else 0.
constexpr bool spread(int place_bits, int per, int code) { return place_bits == 5 && per == 3 && code; }
constexpr int place_bit(int place_bits, int per, int code, int k) { return (spread(place_bits, per, code) ? 5 : 32 / per) * k; }
constexpr int code_bit(int place_bits, int per, int code, int k) {
  return place_bit(place_bits, per, code, k) + (spread(place_bits, per, code) ? 16 : place_bits);
}

// 2^BITS inputs: side by side, or two runs of 16. `at`: for each lane the one that the symbol's low BITS bits name.
template <int BITS>
struct Window {
#if defined(__AVX512F__)
  vf part[1 << (BITS - 4)];
  explicit Window(const float* x) {
    for (int i = 0; i < 1 << (BITS - 4); i++) part[i] = load(x + i * VL);
  }
  Window(const float* low, const float* high) : part{load(low), load(high)} {}
  vf at(vi symbol) const {
    const __m512i i = (__m512i)symbol;
    if constexpr (BITS == 4) return (vf)_mm512_permutexvar_ps(i, (__m512)part[0]);
    if constexpr (BITS == 5) return (vf)_mm512_permutex2var_ps((__m512)part[0], i, (__m512)part[1]);
    if constexpr (BITS == 6) {
      const __m512 low = _mm512_permutex2var_ps((__m512)part[0], i, (__m512)part[1]);
      const __m512 high = _mm512_permutex2var_ps((__m512)part[2], i, (__m512)part[3]);
      return (vf)_mm512_mask_blend_ps(_mm512_test_epi32_mask(i, _mm512_set1_epi32(32)), low, high);
    }
  }
#elif defined(__AVX2__)
  static constexpr int PARTS_OF = BITS == 6 ? 1 : 1 << (BITS - 3);
  const float* x;
  vf part[PARTS_OF];
  explicit Window(const float* x_) : x(x_) {
    for (int i = 0; i < PARTS_OF; i++) part[i] = load(x + i * VL);
  }
  Window(const float* low, const float* high) : x(low), part{load(low), load(low + VL), load(high), load(high + VL)} {}
  vf one(int i, vi symbol) const { return (vf)_mm256_permutevar8x32_ps((__m256)part[i], (__m256i)symbol); }
  static vf choose(vi bit, vf zero, vf other) { return (vf)_mm256_blendv_ps((__m256)zero, (__m256)other, (__m256)bit); }
  vf at(vi symbol) const {
    if constexpr (BITS == 6) {
      return (vf)_mm256_i32gather_ps(x, (__m256i)(symbol & 63), 4);
    } else {
      const vi third = symbol << 28;  // the bit becomes the sign, which is what blendv looks at
      const vf low = choose(third, one(0, symbol), one(1, symbol));
      if constexpr (BITS == 4) return low;
      else return choose(symbol << 27, low, choose(third, one(2, symbol), one(3, symbol)));
    }
  }
#else
  const float* run[1 << (BITS - 4)];
  explicit Window(const float* x) {
    for (int i = 0; i < 1 << (BITS - 4); i++) run[i] = x + i * 16;
  }
  Window(const float* low, const float* high) : run{low, high} {}
  float one(int32_t symbol) const { return run[symbol >> 4 & ((1 << (BITS - 4)) - 1)][symbol & 15]; }
  vf at(vi symbol) const { return vf{one(symbol[0]), one(symbol[1]), one(symbol[2]), one(symbol[3])}; }
#endif
};

// Zeros in lanes (counted from `lane` on) that `mask` leaves out.
inline vf only(vf x, uint32_t mask, [[maybe_unused]] int lane) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_mov_ps((__mmask16)mask, (__m512)x);
#else
  vi bit;
  for (int i = 0; i < VL; i++) bit[i] = 1 << i;
  const vi held = ((int32_t)(mask >> lane) & bit) != 0;
  return (vf)((vi)x & held);
#endif
}

// How values are found. `at`: VL of those of a slot: vector i of it, which is slot s of those from `panel` on, or what `code` stands for. BESIDE: what
// `code` is found beside a place, in the word as it is shifted for that.
struct PlainFloats {
  static constexpr int CODE = 0;
  static constexpr bool BESIDE = false;
  const float* v;
  PlainFloats(const Windows* m, int64_t panel) : v((const float*)(m->base() + m->values) + m->start(panel) * PANEL) {}
  vf at(int64_t s, int n, int i, vi) const { return load(v + s * n * VL + i * VL); }
};
struct PlainHalves {
  static constexpr int CODE = 0;
  static constexpr bool BESIDE = false;
  const uint16_t* v;
  PlainHalves(const Windows* m, int64_t panel) : v((const uint16_t*)(m->base() + m->values) + m->start(panel) * PANEL) {}
  vf at(int64_t s, int n, int i, vi) const { return load_half(v + s * n * VL, i); }
};
template <int BITS>
struct OneTable {
  static constexpr int CODE = BITS;
  static constexpr bool BESIDE = false;
  Table<BITS> table;
  OneTable(const Windows* m, int64_t) : table((const float*)(m->base() + m->tables), nullptr, 0) {}
  vf at(int64_t, int, int, vi code) const { return table(code); }
};
#if defined(__AVX512F__)
// Entries of 8 significant bits (bfloat16), found as the upper halves of floats by the upper halves of words: what brings a place to the low end of a
// word brings its index there, too.
struct UpperTable {
  static constexpr int CODE = 5;
  static constexpr bool BESIDE = true;
  __m512i table;
  UpperTable(const Windows* m, int64_t) {
    alignas(64) uint16_t halves[32];
    for (int i = 0; i < 32; i++) halves[i] = (uint16_t)(bits_of(m)[i] >> 16);
    table = _mm512_load_si512(halves);
  }
  vf at(int64_t, int, int, vi symbol) const { return (vf)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, (__m512i)symbol, table); }

  static const uint32_t* bits_of(const Windows* m) { return (const uint32_t*)(m->base() + m->tables); }  // of 32 entries, few of them repeated
  static bool fits(const Windows* m) {
    uint32_t any = 0;
    for (int i = 0; i < 32; i++) any |= bits_of(m)[i];
    return !(any & 0xffff);
  }
};
#endif
struct ManyTables {
  static constexpr int CODE = 0;
  static constexpr bool BESIDE = false;
  const float* table;
  const int32_t* place;  // of each row's table
  ManyTables(const Windows* m, int64_t panel)
      : table((const float*)(m->base() + m->tables)), place((const int32_t*)(m->base() + m->places) + panel * PANEL) {}
  vf at(int64_t, int, int i, vi code) const { return LaneTable<8>(table, place, i)(code); }
};

}  // namespace
