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
  int64_t starts, full, rows, lengths, index, values, tables, bases;  // values 0: they lie in the words of index
  int64_t one_table;                                                  // entries of the codebook's only table, 0 if there are several
  int64_t symbol_bits;                                                // of the words of index, below the column

  const char* base() const { return (const char*)this; }
  // First slot of each slice, and behind the last one.
  const uint32_t* start_of() const { return (const uint32_t*)(base() + starts); }
  // Slots of each slice that all of its rows have.
  const uint32_t* full_of() const { return (const uint32_t*)(base() + full); }
  // Output row of each lane, -1 where a slice has fewer rows.
  const int32_t* row_of() const { return (const int32_t*)(base() + rows); }
  const int32_t* length_of() const { return (const int32_t*)(base() + lengths); }
};

#if !defined(__AVX2__)
// A vector of what `f` says of each lane; one initializer, since lanes that are set one after the other cost a shuffle each.
template <typename F>
inline vf of_lanes(const F& f) {
  static_assert(VL == 4, "");
  return vf{f(0), f(1), f(2), f(3)};
}
#endif

inline vf gather(const float* x, vi at) {
#if defined(__AVX512F__)
  return (vf)_mm512_i32gather_ps((__m512i)at, x, 4);
#elif defined(__AVX2__)
  return (vf)_mm256_i32gather_ps(x, (__m256i)at, 4);
#else
  return of_lanes([&](int i) { return x[at[i]]; });
#endif
}

inline vi widen(const uint8_t* p) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
#else
  return vi{p[0], p[1], p[2], p[3]};
#endif
}

inline vi widen(const uint16_t* p) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return (vi)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
#else  // one load for all four of them: loads are what bounds the kernels here
  uint64_t four;
  __builtin_memcpy(&four, p, sizeof four);
  return vi{(int32_t)(four & 0xffff), (int32_t)(four >> 16 & 0xffff), (int32_t)(four >> 32 & 0xffff), (int32_t)(four >> 48)};
#endif
}

inline vi widen(const uint32_t* p) { return loadi(p); }

inline float clamp_one(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

}  // namespace
