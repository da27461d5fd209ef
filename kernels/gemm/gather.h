// Patches of a convolution: columns [k0, k0 + n) of the im2col matrix, K in the order (kd, kh, kw, channel).
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

// Geometry of a convolution over x[N, D, H, W, C] (NHWC; lower ranks have lengths of 1), channels of one group per pixel.
enum ConvParam {
  C_CHANNELS,                        // channels of one group
  C_D, C_H, C_W, C_OD, C_OH, C_OW,   // input, output
  C_KD, C_KH, C_KW,                  // kernel
  C_SD, C_SH, C_SW,                  // strides
  C_PD, C_PH, C_PW,                  // padding at the beginning
  C_DD, C_DH, C_DW,                  // dilations
  C_PARAMS
};

inline int64_t clip(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

inline void copy_floats(float* to, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(to + i, load(from + i));
  if (i == n) return;
#if !defined(__AVX512F__)
  if (n >= VL) return store(to + n - VL, load(from + n - VL));
#endif
  store_n(to + i, load_n(from + i, (int)(n - i)), (int)(n - i));
}

inline void zero_floats(float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = 0;
}

// Part [a, b) of a run of which [low, high) lies inside the image, at from + low … from + high; the rest is padding.
inline float* copy_run(float* to, const float* from, int64_t a, int64_t b, int64_t low, int64_t high) {
  const int64_t first = clip(low, a, b), last = clip(high, first, b);
  if (first > a) zero_floats(to, first - a);
  if (last > first) copy_floats(to + first - a, from + first, last - first);
  if (b > last) zero_floats(to + last - a, b - last);
  return to + b - a;
}

struct Patches {
  const float* x;       // first channel of the group
  int64_t ldx;          // floats per pixel
  const int64_t* c;     // ConvParam
  int64_t run;          // floats that lie together: a row of the kernel, or one tap where a row has gaps
  int64_t runs_per_row;

  Patches(const float* x_, int64_t ldx_, const int64_t* c_) : x(x_), ldx(ldx_), c(c_) {
    const bool whole_row = c[C_DW] == 1 && c[C_CHANNELS] == ldx;
    run = whole_row ? c[C_KW] * c[C_CHANNELS] : c[C_CHANNELS];
    runs_per_row = whole_row ? 1 : c[C_KW];
  }

  // Output pixel `row`, columns [k0, k0 + n).
  void row(int64_t row, int64_t k0, int64_t n, float* to) const {
    const int64_t ow = row % c[C_OW], oh = row / c[C_OW] % c[C_OH];
    const int64_t od = row / (c[C_OW] * c[C_OH]) % c[C_OD], image = row / (c[C_OW] * c[C_OH] * c[C_OD]);
    const int64_t taps = run / c[C_CHANNELS], k1 = k0 + n;
    for (int64_t q = k0 / run; q * run < k1; q++) {
      const int64_t kw = q % runs_per_row, kh = q / runs_per_row % c[C_KH], kd = q / runs_per_row / c[C_KH];
      const int64_t id = od * c[C_SD] - c[C_PD] + kd * c[C_DD], ih = oh * c[C_SH] - c[C_PH] + kh * c[C_DH];
      const int64_t iw = ow * c[C_SW] - c[C_PW] + kw * c[C_DW];
      const bool inside = id >= 0 && id < c[C_D] && ih >= 0 && ih < c[C_H];
      const int64_t low = clip(-iw, 0, taps) * c[C_CHANNELS], high = inside ? clip(c[C_W] - iw, 0, taps) * c[C_CHANNELS] : 0;
      const int64_t pixel = ((image * c[C_D] + id) * c[C_H] + ih) * c[C_W] + iw;
      const int64_t a = k0 > q * run ? k0 - q * run : 0, b = k1 < (q + 1) * run ? k1 - q * run : run;
      to = copy_run(to, x + pixel * ldx, a, b, inside ? low : run, high);
    }
  }
};

}  // namespace
