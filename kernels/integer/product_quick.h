// Codes of a product the quick way, some rows at a time (64-bit NEON: product_neon.h).
#pragma once

#include "product_tile.h"

#if !defined(__aarch64__)
namespace {

// Part G of the equal parts that a vector of bytes has, of the rows of which each is one: n bytes of it.
template <int PARTS, int G>
[[gnu::always_inline]] inline void store_part(int8_t* to, vi bytes, int64_t n) {
  constexpr int SIZE = 4 * VL / PARTS;
#if defined(__AVX512F__)
  if constexpr (PARTS == 2) {
    const __m256i part = _mm512_extracti64x4_epi64((__m512i)bytes, G);
    if (n >= SIZE) _mm256_storeu_si256((__m256i*)to, part);
    else _mm256_mask_storeu_epi8(to, (1u << n) - 1, part);
  } else {
    const __m128i part = _mm512_extracti32x4_epi32((__m512i)bytes, G);
    if (n >= SIZE) _mm_storeu_si128((__m128i*)to, part);
    else _mm_mask_storeu_epi8(to, (__mmask16)((1u << n) - 1), part);
  }
#else
  int8_t all[4 * VL];
  storei(all, bytes);
  if (n >= SIZE) __builtin_memcpy(to, all + G * SIZE, SIZE);
  else for (int64_t i = 0; i < n; i++) to[i] = all[G * SIZE + i];
#endif
}

// Bytes of ROWS rows, `ld` apart, of each the first n <= MOST.
template <int ROWS, int MOST>
[[gnu::always_inline]] inline void store_rows(int8_t* to, int64_t ld, vi bytes, int64_t n) {
  if constexpr (ROWS == 1) {
    if (MOST == 4 * VL || n < MOST) {
      store_bytes(to, bytes, n);
      return;
    }
#if defined(__AVX512F__)
    _mm512_mask_storeu_epi8(to, (__mmask64)((1ull << (MOST & 63)) - 1), (__m512i)bytes);
#else
    __builtin_memcpy(to, &bytes, MOST);
#endif
  } else if (n == ld && n == MOST) {
    storei(to, bytes);
  } else {
    store_part<ROWS, 0>(to, bytes, n);
    store_part<ROWS, 1>(to + ld, bytes, n);
    if constexpr (ROWS == 4) {
      store_part<ROWS, 2>(to + 2 * ld, bytes, n);
      store_part<ROWS, 3>(to + 3 * ld, bytes, n);
    }
  }
}

// A row near ties, step by step.
template <int P>
[[gnu::noinline]] void row_by_division(const Tile& t, int64_t r) {
  constexpr int V = P * NV;
  const Quick f = t.finish->quick();
  const int64_t* p = t.finish->p;
  const vf floor = splat(thin_f32(p[F_LOW])), ceiling = splat(thin_f32(p[F_HIGH]));
  vi sum[1][V];
#pragma GCC unroll 16
  for (int i = 0; i < V; i++) sum[0][i] = loadi(t.start + i * VL);
  add_products<1, P>(sum, t.x + r * t.ldx, t);
#pragma GCC unroll 16
  for (int i = 0; i < V; i++) {
    const vf y = apart(__builtin_convertvector(sum[0][i], vf) * load(t.table.m + t.at + i * VL)) + load(t.table.bias + t.at + i * VL);
    sum[0][i] = divided(clamp(y, floor, ceiling), thin_f32(p[F_SCALE]), p[F_ZERO]);
  }
  int8_t* to = f.codes + (t.row + r) * f.ld + t.column;
#pragma GCC unroll 4
  for (int i = 0; i < V; i += 4) {
    vi q[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) q[j] = i + j < V ? sum[0][i + j < V ? i + j : 0] : vi{};
    const int64_t left = t.columns - i * VL;
    store_bytes(to + i * VL, in_order(f.bytes(q[0], q[1], q[2], q[3])), left < V * VL ? left : V * VL);
  }
}

// Rows, at least R, the quick way, R at a time: not too many, so that codes of some are made while the products of the next ones are added. The last ones end
// with the rows, so that some are made twice.
template <int R, int P>
[[gnu::noinline]] void quick_rows(int64_t rows, const Tile& all) {
  constexpr int V = P * NV, TOGETHER = V >= 3 ? 1 : 4 / V;  // vectors of a row, rows whose codes make one vector
  const Tile t = all;
  const Quick f = t.finish->quick();
  const int64_t columns = t.columns;
  vf m[V], bias[V];
#pragma GCC unroll 16
  for (int i = 0; i < V; i++) {
    m[i] = load(t.table.quick_m + t.at + i * VL);
    bias[i] = load(t.table.quick_bias + t.at + i * VL);
  }
  int64_t near[64], count = 0;  // rows near ties: calls between products would send all registers to memory
  for (int64_t done = 0; done < rows; done += R) {
    const int64_t whole = done + R <= rows ? done : rows - R, row = t.upwards ? rows - R - whole : whole;
    vi sum[R][V];
#pragma GCC unroll 16
    for (int i = 0; i < R * V; i++) sum[i / V][i % V] = loadi(t.start + i % V * VL);
    add_products<R, P>(sum, t.x + row * t.ldx, t);
    vu least[R], lowest = {};
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 16
      for (int i = 0; i < V; i++) {
        sum[r][i] = FixedPoint::of(__builtin_convertvector(sum[r][i], vf) * m[i] + bias[i]);
        least[r] = i ? FixedPoint::least(least[r], sum[r][i]) : (vu)sum[r][i];
      }
      lowest = r ? FixedPoint::least(lowest, (vi)least[r]) : least[r];
    }
    int8_t* to = f.codes + (t.row + row) * f.ld + t.column;
#pragma GCC unroll 16
    for (int r = 0; r < R; r += TOGETHER, to += TOGETHER * f.ld)
#pragma GCC unroll 4
      for (int i = 0; i < V; i += 4) {
        vi q[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) q[j] = TOGETHER > 1 ? sum[r + (i + j) / V][(i + j) % V] : i + j < V ? sum[r][i + j < V ? i + j : 0] : vi{};
        constexpr int MOST = V < 4 ? V * VL : 4 * VL;
        store_rows<TOGETHER, MOST>(to + i * VL, f.ld, in_order(f.bytes(q[0], q[1], q[2], q[3])), columns - i * VL);
      }
    if (__builtin_expect(f.is_near(lowest), 0))
#pragma GCC unroll 16
      for (int r = 0; r < R; r++)
        if (f.is_near(least[r])) near[count++] = row + r;
    if (count <= 64 - R && done + R < rows) continue;
    while (count > 0) row_by_division<P>(all, near[--count]);
  }
}

// Rows of quick_rows at a time: as many sums as leave room for weights and factors.
template <int P>
constexpr int rows_at_once() {
#if defined(__AVX512F__)
  return P == 3 ? 5 : 16 / P;
#else
  return NV >= 4 ? 2 : 4;
#endif
}

// All rows the quick way.
template <int P>
inline void all_quickly(int64_t rows, const Tile& t) {
  constexpr int MOST = rows_at_once<P>(), ONE = P * NV >= 3 ? 1 : 4 / (P * NV);
  if (rows >= MOST) quick_rows<MOST, P>(rows, t);
  else if (rows >= ONE) quick_rows<ONE, P>(rows, t);
  else for (int64_t r = 0; r < rows; r++) row_by_division<P>(t, r);
}

}  // namespace
#endif
