// Shuffles of two vectors, on the compilers' own built-ins.
#pragma once

#include "simd.h"

namespace {

#if defined(__clang__)
#define THIN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define THIN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

// The lower / upper halves of a and b, lanes alternating.
[[maybe_unused]] inline vf zip_low(vf a, vf b) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
  return THIN_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return THIN_SHUFFLE(a, b, 0, 4, 1, 5);
#endif
}
[[maybe_unused]] inline vf zip_high(vf a, vf b) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  return THIN_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return THIN_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
}

// Transposes VL × VL floats in registers: zipping row i with row i + VL/2 rotates the bits of a float's place by one, so
// log2(VL) rounds exchange the row and the column.
[[maybe_unused]] inline void transpose(vf* rows) {
  for (int width = VL; width > 1; width /= 2) {
    vf zipped[VL];
    for (int i = 0; i < VL / 2; i++) {
      zipped[2 * i] = zip_low(rows[i], rows[i + VL / 2]);
      zipped[2 * i + 1] = zip_high(rows[i], rows[i + VL / 2]);
    }
    for (int i = 0; i < VL; i++) rows[i] = zipped[i];
  }
}

// Every second float of the 2 VL floats that a and b hold.
[[maybe_unused]] inline vf evens(vf a, vf b) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif defined(__AVX2__)
  return (vf)_mm256_permute4x64_pd((__m256d)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88), 0xd8);  // GCC would take three permutations
#else
  return THIN_SHUFFLE(a, b, 0, 2, 4, 6);
#endif
}
// Those in between.
[[maybe_unused]] inline vf odds(vf a, vf b) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif defined(__AVX2__)
  return (vf)_mm256_permute4x64_pd((__m256d)_mm256_shuffle_ps((__m256)a, (__m256)b, 0xdd), 0xd8);
#else
  return THIN_SHUFFLE(a, b, 1, 3, 5, 7);
#endif
}

// {first, v[0], …, v[VL - 2]} and {v[1], …, v[VL - 1], last}.
[[maybe_unused]] inline vf moved_up(vf v, vf first) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(v, first, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14);
#elif defined(__AVX2__)
  return THIN_SHUFFLE(v, first, 8, 0, 1, 2, 3, 4, 5, 6);
#else
  return THIN_SHUFFLE(v, first, 4, 0, 1, 2);
#endif
}
[[maybe_unused]] inline vf moved_down(vf v, vf last) {
#if defined(__AVX512F__)
  return THIN_SHUFFLE(v, last, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
#elif defined(__AVX2__)
  return THIN_SHUFFLE(v, last, 1, 2, 3, 4, 5, 6, 7, 8);
#else
  return THIN_SHUFFLE(v, last, 1, 2, 3, 4);
#endif
}

}  // namespace
