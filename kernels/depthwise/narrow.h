// 3 × 3 and 5 × 5 taps straight from the image, NCHW, where a row of the output is narrower than a vector: a row of it is one vector, what lies
// left and right of the image is masked out of the loads, rows above and below are left out. Nothing is copied.
#pragma once

#include "../gemm/gather.h"
#include "shuffle.h"
#include "taps.h"

namespace {

// Some rows of one channel's output.
struct NarrowRows {
  const int64_t* p;
  const float* x;     // [H][W]
  float* y;           // first of these rows
  const float* taps;  // of this channel, PANEL floats apart
  int64_t oh, rows;
  float bias, low, high;
};

typedef void (*NarrowFn)(const NarrowRows& rows);

#if defined(__AVX2__)

// A vector of eight floats. Mask: the lanes [low, high).
struct Eight {
  static constexpr int N = 8;
  typedef float V __attribute__((vector_size(32)));
  static V evens_of(V a, V b) { return shuffled(a, b, 0); }
  static V odds_of(V a, V b) { return shuffled(a, b, 1); }
#if defined(__AVX512F__)
  typedef __mmask8 Mask;
  static Mask mask(int64_t low, int64_t high) { return (Mask)((1u << high) - (1u << low)); }
  static V load(const float* p, Mask m) { return (V)_mm256_maskz_loadu_ps(m, p); }
  static void store(float* p, V v, Mask m) { _mm256_mask_storeu_ps(p, m, (__m256)v); }
  static V shuffled(V a, V b, int odd) {
    const __m256i at = _mm256_add_epi32(_mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), _mm256_set1_epi32(odd));
    return (V)_mm256_permutex2var_ps((__m256)a, at, (__m256)b);
  }
#else
  typedef __m256i Mask;
  static Mask mask(int64_t low, int64_t high) {
    const vi lane = {0, 1, 2, 3, 4, 5, 6, 7};
    return (Mask)((lane >= (int32_t)low) & (lane < (int32_t)high));
  }
  static V load(const float* p, Mask m) { return (V)_mm256_maskload_ps(p, m); }
  static void store(float* p, V v, Mask m) { _mm256_maskstore_ps(p, m, (__m256)v); }
  static V shuffled(V a, V b, int odd) { return odd ? odds(a, b) : evens(a, b); }
#endif
};

#if defined(__AVX512F__)
struct Sixteen {
  static constexpr int N = 16;
  typedef vf V;
  typedef __mmask16 Mask;
  static Mask mask(int64_t low, int64_t high) { return (Mask)((1u << high) - (1u << low)); }
  static V load(const float* p, Mask m) { return (V)_mm512_maskz_loadu_ps(m, p); }
  static void store(float* p, V v, Mask m) { _mm512_mask_storeu_ps(p, m, (__m512)v); }
  static V evens_of(V a, V b) { return evens(a, b); }
  static V odds_of(V a, V b) { return odds(a, b); }
};
constexpr int NARROW_TILE = 7;  // rows of the output that are summed together, as registers allow
#else
constexpr int NARROW_TILE = 4;
#endif

// K × K taps with stride S, in vectors L.
template <class L, int K, int S>
struct Narrow {
  typedef typename L::V V;
  static constexpr int LOADS = S == 1 ? K : (K + 1) / 2 * 2;

  const NarrowRows& rows;
  V w[K * K], bias, low, high;
  typename L::Mask masks[LOADS];

  explicit Narrow(const NarrowRows& r) : rows(r), bias(r.bias - V{}), low(r.low - V{}), high(r.high - V{}) {
    for (int i = 0; i < K * K; i++) w[i] = r.taps[i * PANEL] - V{};
    for (int i = 0; i < LOADS; i++) {
      const int64_t column = offset(i) - r.p[PW], first = clip(-column, 0, L::N);
      masks[i] = L::mask(first, clip(r.p[W] - column, first, L::N));
    }
  }

  // Where load i of a row begins. Stride 2: two vectors side by side from every second column on.
  static int64_t offset(int i) { return S == 1 ? i : i / 2 * 2 + i % 2 * L::N; }

  // What the taps of a row of the kernel see of the row at x.
  void columns(const float* x, V (&v)[K]) const {
    V seen[LOADS];
#pragma GCC unroll 8
    for (int i = 0; i < LOADS; i++) seen[i] = L::load(x + offset(i), masks[i]);
#pragma GCC unroll 8
    for (int k = 0; k < K; k++) {
      if (S == 1) v[k] = seen[k];
      else v[k] = k % 2 ? L::odds_of(seen[k - 1], seen[k]) : L::evens_of(seen[k], seen[k + 1]);
    }
  }

  template <int R>
  void tile(int64_t r) const {
    const int64_t* p = rows.p;
    const int64_t top = (rows.oh + r) * S - p[PH], out = p[OW];
    V sum[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) sum[i] = bias;
    const float* x = rows.x + top * p[W] - p[PW];
#pragma GCC unroll 32
    for (int row = 0; row < (R - 1) * S + K; row++, x += p[W]) {
      if ((uint64_t)(top + row) >= (uint64_t)p[H]) continue;
      V v[K];
      columns(x, v);
#pragma GCC unroll 8
      for (int i = 0; i < R; i++) {
        if (row < i * S || row >= i * S + K) continue;
#pragma GCC unroll 8
        for (int k = 0; k < K; k++) sum[i] += v[k] * w[(row - i * S) * K + k];
      }
    }
    float* y = rows.y + r * out;
    const float* end = rows.y + rows.rows * out;  // lanes past a row's end go into the next row, which is written after it
#pragma GCC unroll 8
    for (int i = 0; i < R; i++, y += out) {
      V found = sum[i] < low ? low : sum[i];
      found = found > high ? high : found;
      if (end - y >= L::N) __builtin_memcpy(y, &found, sizeof found);
      else L::store(y, found, L::mask(0, out));
    }
  }

  void run() const {
    int64_t r = 0;
    for (; r + NARROW_TILE <= rows.rows; r += NARROW_TILE) tile<NARROW_TILE>(r);
    for (; r + 3 <= rows.rows; r += 3) tile<3>(r);
    for (; r < rows.rows; r++) tile<1>(r);
  }
};

template <class L, int K, int S>
void narrow(const NarrowRows& rows) {
  Narrow<L, K, S>(rows).run();
}

template <class L>
inline NarrowFn narrow_of(const int64_t* p) {
  if (p[KW] == 3) return p[SW] == 1 ? narrow<L, 3, 1> : narrow<L, 3, 2>;
  return p[SW] == 1 ? narrow<L, 5, 1> : narrow<L, 5, 2>;
}

// What makes rows of the output; null where they are wider than a vector, or the kernel is another one.
inline NarrowFn choose_narrow(const int64_t* p) {
  const bool square = p[KH] == p[KW] && p[SH] == p[SW] && p[DH] == 1 && p[DW] == 1 && (p[KW] == 3 || p[KW] == 5) && p[SW] <= 2;
  if (!square || p[OW] >= VL) return nullptr;
#if defined(__AVX512F__)
  if (p[OW] > Eight::N) return narrow_of<Sixteen>(p);
#endif
  return narrow_of<Eight>(p);
}

#else

inline NarrowFn choose_narrow(const int64_t*) { return nullptr; }

#endif

}  // namespace
