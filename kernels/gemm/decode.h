// Weights in panels of 16 output rows, rows in lanes, and how a run of a panel's columns becomes fp32 (see README.md for the bytes).
#pragma once

#include "bytes.h"
#include "kernel.h"
#include "numbers.h"
#include "simd.h"

namespace {

constexpr int PANEL = 16;       // output rows of a panel
constexpr int NV = PANEL / VL;  // vectors that hold one value of each row

constexpr int per_word(int bits) { return 32 / bits; }

// The 16 halves at p (vector `v` of them) as floats. Exact: subnormals, infinities and NaNs included.
[[maybe_unused]] inline vf load_half(const uint16_t* p, int v) {
  p += v * VL;
#if defined(__AVX512F__)  // units of 256 bits convert two registers of 8 in less than half the time that one of 16 takes
  const __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)), high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)));
  return (vf)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#elif defined(__F16C__)
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#elif defined(__ARM_NEON)  // of 32 bits, too: other NEON arithmetic would take a subnormal half for zero there
  return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
  typedef uint16_t vh __attribute__((vector_size(VL * 2)));
  vh halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  const vi h = __builtin_convertvector(halves, vi);
  const vi magnitude = h & 0x7fff, sign = (h & 0x8000) << 16;
  vf scaled = (vf)(magnitude << 13) * 0x1p112f;                  // moves the exponent's bias from 15 to 127
  const vi special = (magnitude >= 0x7c00) & 0x7f800000;         // infinity or NaN keeps an exponent of all ones
  return (vf)((vi)scaled | special | sign);
#endif
}

// A table of 2^BITS floats (repeated up to 16 where shorter), looked up per lane by the low BITS bits of an index.
template <int BITS>
struct Table {
#if defined(__AVX512F__)
  static constexpr int PARTS = BITS <= 4 ? 1 : BITS < 8 ? 1 << (BITS - 4) : 0;  // 8 bits: gathers are faster than 15 permutes and blends
  vf part[PARTS ? PARTS : 1];
  const float* table;
  inline Table(const float* t, const int32_t*, int) : table(t) {
    for (int i = 0; i < PARTS; i++) part[i] = load(t + 16 * i);
  }
  inline vf pair(int i, vi x) const {
    return (vf)_mm512_permutex2var_ps((__m512)part[2 * i], (__m512i)x, (__m512)part[2 * i + 1]);
  }
  static inline vf choose(vi x, int bit, vf zero, vf one) {
    return (vf)_mm512_mask_mov_ps((__m512)zero, _mm512_test_epi32_mask((__m512i)x, _mm512_set1_epi32(bit)), (__m512)one);
  }
  inline vf operator()(vi x) const {  // permutes look at the low 4 (two registers: 5) bits only, so nothing has to be masked
    if constexpr (BITS <= 4) return (vf)_mm512_permutexvar_ps((__m512i)x, (__m512)part[0]);
    if constexpr (BITS == 5) return pair(0, x);
    if constexpr (BITS == 6) return choose(x, 32, pair(0, x), pair(1, x));
    if constexpr (BITS == 7) return choose(x, 64, choose(x, 32, pair(0, x), pair(1, x)), choose(x, 32, pair(2, x), pair(3, x)));
    if constexpr (BITS == 8) return (vf)_mm512_i32gather_ps((__m512i)(x & 255), table, 4);
  }
#elif defined(__AVX2__)
  static constexpr int PARTS = BITS <= 3 ? 1 : BITS == 4 ? 2 : BITS == 5 ? 4 : 1;
  vf part[PARTS];
  const float* table;
  inline Table(const float* t, const int32_t*, int) : table(t) {
    for (int i = 0; i < PARTS; i++) part[i] = load(t + 8 * i);
  }
  inline vf one(int i, vi x) const { return (vf)_mm256_permutevar8x32_ps((__m256)part[i], (__m256i)x); }
  // The bit becomes the sign, which is what blendv looks at.
  static inline vf choose(vi x, int shift, vf zero, vf one) {
    return (vf)_mm256_blendv_ps((__m256)zero, (__m256)one, (__m256)(x << shift));
  }
  inline vf operator()(vi x) const {
    if constexpr (BITS <= 3) return one(0, x);
    else if constexpr (BITS == 4) return choose(x, 28, one(0, x), one(1, x));
    else if constexpr (BITS == 5) return choose(x, 27, choose(x, 28, one(0, x), one(1, x)), choose(x, 28, one(2, x), one(3, x)));
    else return (vf)_mm256_i32gather_ps(table, (__m256i)(x & ((1 << BITS) - 1)), 4);
  }
#else
  const float* table;
  inline Table(const float* t, const int32_t*, int) : table(t) {}
  inline vf operator()(vi x) const {
    vf y;
    for (int i = 0; i < VL; i++) y[i] = table[x[i] & ((1 << BITS) - 1)];
    return y;
  }
#endif
};

// Every lane has a table of its own: `lanes` are the tables' places, in floats from `table`.
template <int BITS>
struct LaneTable {
  const float* table;
  vi place;
  inline LaneTable(const float* t, const int32_t* lanes, int v) : table(t), place(loadi(lanes + v * VL)) {}
  inline vf operator()(vi x) const {
    const vi at = (x & ((1 << BITS) - 1)) + place;
#if defined(__AVX512F__)
    return (vf)_mm512_i32gather_ps((__m512i)at, table, 4);
#elif defined(__AVX2__)
    return (vf)_mm256_i32gather_ps(table, (__m256i)at, 4);
#else
    vf y;
    for (int i = 0; i < VL; i++) y[i] = table[at[i]];
    return y;
#endif
  }
};

// Parameters that describe a packed weight, starting at p[0]; the same for every kernel that reads panels.
enum PackedParam { W_BITS, W_PANEL_BYTES, W_TABLES_AT, W_PANELS_PER_TABLE, W_LANES_AT, W_SCALE_AT, W_PARAMS };

// A packed weight. Sections that a weight does not have are at 0 in its parameters.
struct Packed {
  const char* base;
  const int64_t* p;

  const char* panel(int64_t i) const { return base + i * p[W_PANEL_BYTES]; }
  const float* table(int64_t panel) const {
    const int bits = p[W_BITS] < 4 ? 4 : (int)p[W_BITS];
    const int64_t index = p[W_LANES_AT] ? 0 : panel / p[W_PANELS_PER_TABLE];
    return (const float*)(base + p[W_TABLES_AT]) + (index << bits);
  }
  const int32_t* lanes(int64_t panel) const {
    return p[W_LANES_AT] ? (const int32_t*)(base + p[W_LANES_AT]) + panel * PANEL : nullptr;
  }
  const float* scale(int64_t panel) const {
    return p[W_SCALE_AT] ? (const float*)(base + p[W_SCALE_AT]) + panel * PANEL : nullptr;
  }
};

// The encodings: each decodes columns [k0, k0 + n) of a panel to out[n][16]; k0 is a multiple of indices per word.

// Not packed at all: another activation, [K][N] row by row. W_BITS holds N and W_PANEL_BYTES the 64 bytes of 16 columns.
[[maybe_unused]] void decode_rows(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  const int64_t ld = w.p[W_BITS], left = ld - panel * PANEL;
  const float* p = (const float*)w.panel(panel) + k0 * ld;
  for (int64_t k = 0; k < n; k++, p += ld, out += PANEL)
    for (int v = 0; v < PANEL; v += VL) store(out + v, left - v >= VL ? load(p + v) : left > v ? load_n(p + v, (int)(left - v)) : vf{});
}

[[maybe_unused]] void decode_half(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  const uint16_t* p = (const uint16_t*)w.panel(panel) + k0 * PANEL;
  for (int64_t k = 0; k < n; k++)
    for (int v = 0; v < NV; v++) store(out + k * PANEL + v * VL, load_half(p + k * PANEL, v));
}

#if defined(__AVX2__)
template <int BITS, class Lookup>
void decode_words(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  constexpr int PER = per_word(BITS);
  for (int v = 0; v < NV; v++) {
    const Lookup lookup(w.table(panel), w.lanes(panel), v);
    const int32_t* p = (const int32_t*)w.panel(panel) + k0 / PER * PANEL + v * VL;
    float* o = out + v * VL;
    int64_t k = 0;
    for (; k + PER <= n; k += PER, p += PANEL) {
      const vi word = loadi(p);
#pragma GCC unroll 32
      for (int j = 0; j < PER; j++, o += PANEL) store(o, lookup(word >> (BITS * j)));
    }
    if (k < n)
      for (vi word = loadi(p); k < n; k++, o += PANEL, word >>= BITS) store(o, lookup(word));
  }
}
#else
template <int BITS, bool OWN>
void decode_numbers(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  typedef Numbers<BITS> N;
  const N numbers = {w.panel(panel) + k0 / N::PER * PANEL * 4, (char*)out};
  const float* table = w.table(panel);
  const int32_t* lanes = w.lanes(panel);
  const auto table_of = [&](uint64_t row) { return OWN ? table + lanes[row] : table; };
  const uint64_t whole = (uint64_t)n / N::COUNT * N::ROUND;
  for (uint64_t i = 0; i < whole; i++) numbers.look(i, table_of, typename N::All());
  if (n % N::COUNT)
    for (uint64_t i = whole; i < whole + N::ROUND; i++) numbers.look(i, table_of, (int)(n % N::COUNT));
}
#endif

#if defined(__AVX512VBMI__)
// Four columns at a time, a byte of their floats at a time. Words of 7 and 8 bits hold no more.
template <int BITS>
void decode_bytes(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  with_table<BITS>(w.table(panel), [&](const auto& table) {
    const char* p = w.panel(panel) + k0 * PANEL;
    float* o = out;
    for (int64_t k = 0; k < n; k += 4, p += 4 * PANEL, o += 4 * PANEL) {
      __m512 columns[4];
      table.columns(_mm512_loadu_si512(p), columns);
      const int64_t count = n - k < 4 ? n - k : 4;
      if (count == 4)
        for (int j = 0; j < 4; j++) store(o + j * PANEL, (vf)columns[j]);
      else
        for (int64_t j = 0; j < count; j++) store(o + j * PANEL, (vf)columns[j]);
    }
  });
}
#endif

template <int BITS>
void decode_bits(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
#if !defined(__AVX2__)
  w.lanes(panel) ? decode_numbers<BITS, true>(w, panel, k0, n, out) : decode_numbers<BITS, false>(w, panel, k0, n, out);
#else
  if (w.lanes(panel)) decode_words<BITS, LaneTable<BITS>>(w, panel, k0, n, out);
#if defined(__AVX512VBMI__)
  else if constexpr (BITS > 6) decode_bytes<BITS>(w, panel, k0, n, out);
#endif
  else decode_words<BITS, Table<BITS>>(w, panel, k0, n, out);
#endif
}

[[maybe_unused]] void decode_codebook(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  switch (w.p[W_BITS]) {
    case 1: return decode_bits<1>(w, panel, k0, n, out);
    case 2: return decode_bits<2>(w, panel, k0, n, out);
    case 3: return decode_bits<3>(w, panel, k0, n, out);
    case 4: return decode_bits<4>(w, panel, k0, n, out);
    case 5: return decode_bits<5>(w, panel, k0, n, out);
    case 6: return decode_bits<6>(w, panel, k0, n, out);
    case 7: return decode_bits<7>(w, panel, k0, n, out);
    default: return decode_bits<8>(w, panel, k0, n, out);
  }
}

}  // namespace
