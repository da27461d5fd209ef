// The product of Winograd's convolutions: tiles of the image × channels with panels of transformed weights.
#pragma once

#include "../gemm/decode.h"

namespace {

// The micro-kernel keeps R rows (tiles of the image) × P panels of sums in registers.
#if defined(__AVX512F__)
constexpr int MOST_PANELS = 4, SUMS = 24;
#elif defined(__AVX2__)
constexpr int MOST_PANELS = 1, SUMS = 12;
#elif defined(__aarch64__)
constexpr int MOST_PANELS = 1, SUMS = 24;
#else
constexpr int MOST_PANELS = 1, SUMS = 12;
#endif
constexpr int most_rows(int panels) { return SUMS / (panels * NV) < 8 ? SUMS / (panels * NV) : 8; }

// `more`: y has the sums of the channels before.
template <int R, int P>
void product(const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t n, float* y, int64_t ldy, bool more) {
  vf sum[R][P * NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) sum[r][i] = more ? load(y + r * ldy + i * VL) : vf{};
  const float* row[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) row[r] = x + r * ldx;
  const float* panel[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) panel[p] = w + p * ldw;
  for (int64_t k = 0; k < n; k++) {
    vf column[P * NV];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) column[p * NV + v] = load(panel[p] + k * PANEL + v * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const float value = row[r][k];
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] += column[i] * value;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) store(y + r * ldy + i * VL, sum[r][i]);
}

template <int R, int P>
inline void product_of(int rows, const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t n, float* y, int64_t ldy,
                       bool more) {
  if (rows == R) product<R, P>(x, ldx, w, ldw, n, y, ldy, more);
  else if constexpr (R > 1) product_of<R - 1, P>(rows, x, ldx, w, ldw, n, y, ldy, more);
}

// `rows` rows in tiles of nearly equal height × P panels.
template <int P>
inline void products(int64_t rows, const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t n, float* y, int64_t ldy, bool more) {
  constexpr int MR = most_rows(P);
  const int64_t parts = (rows + MR - 1) / MR;
  for (int64_t i = 0; i < parts; i++) {
    const int64_t at = rows * i / parts, next = rows * (i + 1) / parts;
    product_of<MR, P>((int)(next - at), x + at * ldx, ldx, w, ldw, n, y + at * ldy, ldy, more);
  }
}

template <int P>
inline void panels_of(int panels, int64_t rows, const float* x, int64_t ldx, const float* w, int64_t ldw, int64_t n, float* y, int64_t ldy,
                      bool more) {
  if (panels == P) products<P>(rows, x, ldx, w, ldw, n, y, ldy, more);
  else if constexpr (P > 1) panels_of<P - 1>(panels, rows, x, ldx, w, ldw, n, y, ldy, more);
}

}  // namespace
