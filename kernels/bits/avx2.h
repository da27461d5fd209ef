// Panels with AVX2. vpmaddubsw saturates, so it multiplies |code| by the entry with the code's sign: 2 · 128 · 127 fits. An entry of -128 has no
// opposite; then 16-bit products serve. Entries of 8 bits are in no table that would show them: |entry| by the code with the entry's sign, and
// 16-bit products where a code is -128, which dynamic int8 never is.
#pragma once

#include "rows.h"

namespace {

inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256((const __m256i*)p); }

// Entries less 128, so that they are signed, in quarters of 16.
template <int B>
struct Tables {
  __m256i part[B == 6 ? 4 : 1];
  bool wide;
  Tables(const uint8_t* entries, const Row& row) : wide(B == 8 && row.has_least) {
    for (int i = 0; B < 8 && i < 1 << B; i++) wide |= entries[i] == 0;
    if constexpr (B < 8)
      for (int i = 0; i < (B == 6 ? 4 : 1); i++) {
        uint8_t lookup[32];
        for (int j = 0; j < 32; j++) lookup[j] = entries[(16 * i + j % 16) & ((1 << B) - 1)] ^ 0x80;
        part[i] = load32(lookup);
      }
  }
  // The entries of indices below 1 << B.
  inline __m256i operator()(__m256i index) const {
    if constexpr (B < 6) return _mm256_shuffle_epi8(part[0], index);
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    const __m256i four = _mm256_slli_epi16(index, 3), five = _mm256_slli_epi16(index, 2);  // their bit comes to the sign's place
    const __m256i a = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[0], low), _mm256_shuffle_epi8(part[1], low), four);
    const __m256i b = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[2], low), _mm256_shuffle_epi8(part[3], low), four);
    return _mm256_blendv_epi8(a, b, five);
  }
};

template <int SHIFT>
inline __m256i moved(__m256i v) {
  return SHIFT > 0 ? _mm256_srli_epi16(v, SHIFT > 0 ? SHIFT : 0) : _mm256_slli_epi16(v, SHIFT < 0 ? -SHIFT : 0);
}

template <int B, bool WIDE>
inline __m256i times(__m256i w, __m256i x, __m256i size, __m256i sum) {
  if constexpr (WIDE) {  // pairs of 16 bits in each lane: columns 0 and 2, then 1 and 3
    const __m256i even = _mm256_madd_epi16(_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_srai_epi16(w, 8), _mm256_srai_epi16(x, 8))));
  }
  const __m256i pairs = B == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(size, _mm256_sign_epi8(w, x));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// Field f of half a group's bytes, as indices.
template <int B, int F>
inline __m256i field(const uint8_t* w) {
  const __m256i mask = _mm256_set1_epi8((1 << B) - 1);
  constexpr int S = SEEN<B>;
  if constexpr (STEP_BYTES<B> == 64) return _mm256_and_si256(moved<F * B>(load32(w)), mask);
  else if constexpr (F / S < 3) return _mm256_and_si256(moved<F % S * B>(load32(w + 64 * (F / S))), mask);
  else {
    const __m256i both = _mm256_xor_si256(_mm256_srli_epi16(load32(w + 64), 4), _mm256_srli_epi16(load32(w + 128), 6));
    const __m256i rest = _mm256_xor_si256(_mm256_srli_epi16(load32(w), 2), both);
    return _mm256_and_si256(moved<F % S * B>(rest), mask);
  }
}

template <int B, bool WIDE, int F, int P>
inline void fields(const uint8_t* w, int64_t apart, const int8_t* x, const Tables<B>& table, __m256i (&sum)[P][2]) {
  if constexpr (F < FIELDS<B>) {
    int32_t four;
    __builtin_memcpy(&four, x + 4 * F, 4);
    const __m256i codes = _mm256_set1_epi32(four), sizes = _mm256_abs_epi8(codes);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
      for (int half = 0; half < 2; half++) {
        const uint8_t* at = w + p * apart + 32 * half;
        __m256i entries;
        if constexpr (B == 8) entries = _mm256_xor_si256(load32(at), _mm256_set1_epi8((char)0x80));
        else entries = table(field<B, F>(at));
        sum[p][half] = times<B, WIDE>(entries, codes, sizes, sum[p][half]);
      }
    fields<B, WIDE, F + 1, P>(w, apart, x, table, sum);
  }
}

template <int B, int P, bool WIDE>
inline void signed_panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  __m256i sum[P][2];
  for (int p = 0; p < P; p++) sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>) fields<B, WIDE, 0, P>(w, apart, x, table, sum);
  const __m256i biased = _mm256_set1_epi32((int)(128u * (uint32_t)row.sum));
  for (int i = 0; i < 2 * P; i++) _mm256_storeu_si256((__m256i*)(raw + 8 * i), _mm256_add_epi32(sum[i / 2][i % 2], biased));
}

template <int B, int P>
inline void panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  if (table.wide) signed_panel<B, P, true>(w, apart, row, steps, table, raw);
  else signed_panel<B, P, false>(w, apart, row, steps, table, raw);
}

// Indices multiplied as they are, where tables are grids: two products fit 16 bits, and so do sums of several. Fields that stay where they lie in their
// byte have sums of their own, 2^(B f) times too large.
template <int B> constexpr bool ON_GRIDS = B <= 4;
template <int B> constexpr int GRID_SUMS = B == 1 ? 4 : B == 2 ? 2 : 1;
template <int B> constexpr int GRID_STEPS = 32767 / (((256 << B) - 256) << (B * (GRID_SUMS<B> - 1))) / (FIELDS<B> / GRID_SUMS<B>);  // that 16 bits hold

// Adds the products of half a group's bytes to sums of 16 bits.
template <int B, int F>
inline void grid_fields(const uint8_t* w, const int8_t* x, __m256i (&sum)[GRID_SUMS<B>]) {
  if constexpr (F < FIELDS<B>) {
    constexpr int N = GRID_SUMS<B>;
    int32_t four;
    __builtin_memcpy(&four, x + 4 * F, 4);
    __m256i index;
    if constexpr (N == 1) index = field<B, F>(w);
    else index = _mm256_and_si256(moved<F / N * N * B>(load32(w)), _mm256_set1_epi8((char)(((1 << B) - 1) << (F % N * B))));
    sum[F % N] = _mm256_add_epi16(sum[F % N], _mm256_maddubs_epi16(index, _mm256_set1_epi32(four)));
    grid_fields<B, F + 1>(w, x, sum);
  }
}

template <int B, int P>
inline void grid_panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, int32_t* raw) {
  constexpr int N = GRID_SUMS<B>;
  static_assert(GRID_STEPS<B> > 0, "a step's sums fit 16 bits");
  const __m256i one = _mm256_set1_epi16(1);
  for (int p = 0; p < P; p++, w += apart) {
    __m256i total[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    const uint8_t* from = w;
    const int8_t* x = row.x;
    for (int64_t left = steps; left > 0; left -= GRID_STEPS<B>) {
      __m256i sum[2][N];
      for (int f = 0; f < N; f++) sum[0][f] = sum[1][f] = _mm256_setzero_si256();
      for (int64_t i = left < GRID_STEPS<B> ? left : GRID_STEPS<B>; i > 0; i--, x += STEP<B>, from += STEP_BYTES<B>) {
        grid_fields<B, 0>(from, x, sum[0]);
        grid_fields<B, 0>(from + 32, x, sum[1]);
      }
      for (int half = 0; half < 2; half++)
        for (int f = 0; f < N; f++)
          total[half] = _mm256_add_epi32(total[half], _mm256_srai_epi32(_mm256_madd_epi16(sum[half][f], one), B * f));
    }
    for (int half = 0; half < 2; half++) _mm256_storeu_si256((__m256i*)(raw + GROUP * p + 8 * half), total[half]);
  }
}

}  // namespace
