// The packed layout sell16 (README.md: byte by byte): slices of 16 rows, a slot of a slice holds one weight of each.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

constexpr int ROWS = 16;          // rows of a slice
constexpr int PARTS = ROWS / VL;  // vectors of a slot

// Header of a packed weight; offsets in bytes from its start.
struct Sell {
  int64_t slices, slices_per_group, columns, wide_index;
  int64_t starts, full, rows, lengths, index, values, tables, bases;
  int64_t one_small_table;

  const char* base() const { return (const char*)this; }
  // First slot of each slice, and behind the last one.
  const uint32_t* start_of() const { return (const uint32_t*)(base() + starts); }
  // Slots of each slice that all of its rows have.
  const uint32_t* full_of() const { return (const uint32_t*)(base() + full); }
  // Output row of each lane, -1 where a slice has fewer rows.
  const int32_t* row_of() const { return (const int32_t*)(base() + rows); }
  const int32_t* length_of() const { return (const int32_t*)(base() + lengths); }
};

inline vf gather(const float* x, vi at) {
#if defined(__AVX512F__)
  return (vf)_mm512_i32gather_ps((__m512i)at, x, 4);
#elif defined(__AVX2__)
  return (vf)_mm256_i32gather_ps(x, (__m256i)at, 4);
#else
  vf v;
  for (int i = 0; i < VL; i++) v[i] = x[at[i]];
  return v;
#endif
}

inline vi widen(const uint8_t* p) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
#else
  vi v;
  for (int i = 0; i < VL; i++) v[i] = p[i];
  return v;
#endif
}

inline vi widen(const uint16_t* p) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
#else
  vi v;
  for (int i = 0; i < VL; i++) v[i] = p[i];
  return v;
#endif
}

inline vi widen(const uint32_t* p) { return loadi(p); }

// A half-precision float, by shifting its fields into place; subnormals are scaled up by a multiplication.
inline float half(uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
  uint32_t bits = rest << 13;
  if (rest >= 0x7c00)
    bits |= 0x7f800000;
  else if (rest >= 0x400)
    bits += 112u << 23;
  else
    return thin_f32(sign | 0x33800000) * (float)rest;  // 2^-24 each
  return thin_f32(sign | bits);
#endif
}

// How values are read: `lanes` gives VL of a slot's values, `one` a single one. `lane` counts from the slice's first row.
struct PlainF32 {
  const float* v;
  PlainF32(const Sell* m, int64_t) : v((const float*)(m->base() + m->values)) {}
  vf lanes(int64_t slot, int lane) const { return load(v + slot * ROWS + lane); }
  float one(int64_t slot, int lane) const { return v[slot * ROWS + lane]; }
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
#else
    vf x;
    for (int i = 0; i < VL; i++) x[i] = half(p[i]);
    return x;
#endif
  }
  float one(int64_t slot, int lane) const { return half(v[slot * ROWS + lane]); }
};

// One table of at most 16 entries, which lies in registers.
struct SmallCodebook {
  const uint8_t* v;
  const float* table;
  vf low, high;
  SmallCodebook(const Sell* m, int64_t)
      : v((const uint8_t*)(m->base() + m->values)), table((const float*)(m->base() + m->tables)), low(load(table)), high(load(table + 16 - VL)) {}
  vf lanes(int64_t slot, int lane) const {
    const vi at = widen(v + slot * ROWS + lane);
#if defined(__AVX512F__)
    return (vf)_mm512_permutexvar_ps((__m512i)at, (__m512)low);
#elif defined(__AVX2__)
    const vf a = (vf)_mm256_permutevar8x32_ps((__m256)low, (__m256i)at), b = (vf)_mm256_permutevar8x32_ps((__m256)high, (__m256i)at);
    return at < 8 ? a : b;
#else
    return gather(table, at);
#endif
  }
  float one(int64_t slot, int lane) const { return table[v[slot * ROWS + lane]]; }
};

// Any number of tables; `bases` says where that of a row begins.
struct Codebook {
  const uint8_t* v;
  const float* table;
  const int32_t* base;
  Codebook(const Sell* m, int64_t slice)
      : v((const uint8_t*)(m->base() + m->values)),
        table((const float*)(m->base() + m->tables)),
        base((const int32_t*)(m->base() + m->bases) + slice * ROWS) {}
  vf lanes(int64_t slot, int lane) const { return gather(table, widen(v + slot * ROWS + lane) + loadi(base + lane)); }
  float one(int64_t slot, int lane) const { return table[base[lane] + v[slot * ROWS + lane]]; }
};

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
  float one(int64_t slot, int lane) const { return (v[slot] >> lane & 1) ? 1.0f : -1.0f; }
};

inline float clamp_one(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

}  // namespace
