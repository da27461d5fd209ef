// What the taps of a transposed convolution add to a row of its output (README.md), as floats or as sums of codes.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

// Input, output, kernel, strides, padding, dilations.
enum Place { T_D, T_H, T_W, T_OD, T_OH, T_OW, T_KD, T_KH, T_KW, T_SD, T_SH, T_SW, T_PD, T_PH, T_PW, T_DD, T_DH, T_DW, T_PLACES };

// The input index whose tap `k` falls on output index `o`, or -1.
inline int64_t source(int64_t o, int64_t k, int64_t pad, int64_t dilation, int64_t stride, int64_t length) {
  const int64_t at = o + pad - k * dilation;
  return at < 0 || at % stride || at / stride >= length ? -1 : at / stride;
}

inline void add(float* to, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(to + i, load(to + i) + load(from + i));
  if (i < n) store_n(to + i, load_n(to + i, (int)(n - i)) + load_n(from + i, (int)(n - i)), (int)(n - i));
}

[[maybe_unused]] inline void add(int32_t* to, const int32_t* from, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    const vi sum = loadi(to + i) + loadi(from + i);
    __builtin_memcpy(to + i, &sum, sizeof sum);
  }
  if (i == n) return;
  const int left = (int)(n - i);
  const vi sum = (vi)load_n((const float*)to + i, left) + (vi)load_n((const float*)from + i, left);
  store_n((float*)to + i, (vf)sum, left);
}

// Adds to `row`, the item-th of the output, [OW][channels], what falls there of columns [pixels][groups][KD * KH * KW][channels / groups].
template <typename T>
[[gnu::always_inline]] inline void add_taps(T* row, const T* columns, int64_t item, int64_t channels, int64_t groups, const int64_t* p) {
  const int64_t each = channels / groups, taps = p[T_KD] * p[T_KH] * p[T_KW], ld = taps * channels;
  const int64_t oh = item % p[T_OH], od = item / p[T_OH] % p[T_OD], image = item / p[T_OH] / p[T_OD];
  for (int64_t kd = 0; kd < p[T_KD]; kd++)
    for (int64_t kh = 0; kh < p[T_KH]; kh++) {
      const int64_t d = source(od, kd, p[T_PD], p[T_DD], p[T_SD], p[T_D]), h = source(oh, kh, p[T_PH], p[T_DH], p[T_SH], p[T_H]);
      if (d < 0 || h < 0) continue;
      const T* line = columns + ((image * p[T_D] + d) * p[T_H] + h) * p[T_W] * ld;
      for (int64_t kw = 0; kw < p[T_KW]; kw++) {
        const int64_t tap = (kd * p[T_KH] + kh) * p[T_KW] + kw;
        for (int64_t w = 0, ow = kw * p[T_DW] - p[T_PW]; w < p[T_W]; w++, ow += p[T_SW]) {
          if (ow < 0 || ow >= p[T_OW]) continue;
          for (int64_t g = 0; g < groups; g++) add(row + ow * channels + g * each, line + w * ld + (g * taps + tap) * each, each);
        }
      }
    }
}

}  // namespace
