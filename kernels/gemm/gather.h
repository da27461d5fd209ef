// Patches of a convolution: a block of the im2col matrix, K in the order (kd, kh, kw, channel).
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

// Geometry of a convolution over x[N, D, H, W, C] (NHWC; lower ranks have lengths of 1).
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

inline void zero_floats(float* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = 0;
}

inline void copy_floats(float* to, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(to + i, load(from + i));
#if defined(__AVX512F__)
  if (i < n) store_n(to + i, load_n(from + i, (int)(n - i)), (int)(n - i));
#else
  if (i < n && n >= VL) store(to + n - VL, load(from + n - VL));
  else for (; i < n; i++) to[i] = from[i];
#endif
}

// Floats [a, b) of a run of which only [low, high) lies inside the image; the rest is padding.
inline void copy_run(float* to, const float* from, int64_t a, int64_t b, int64_t low, int64_t high) {
  const int64_t first = clip(low, a, b), last = clip(high, first, b);
  zero_floats(to, first - a);
  if (last > first) copy_floats(to + first - a, from + first, last - first);
  zero_floats(to + last - a, b - last);
}

struct Patches {
  const float* x;    // first channel of the group
  int64_t ldx;       // floats per pixel
  const int64_t* c;  // ConvParam
  int64_t taps;      // kernel columns whose floats lie together in x: all of them, or one where there are gaps
  int64_t run;       // floats of these

  Patches(const float* x_, int64_t ldx_, const int64_t* c_) : x(x_), ldx(ldx_), c(c_) {
    taps = c[C_DW] == 1 && c[C_CHANNELS] == ldx ? c[C_KW] : 1;
    run = taps * c[C_CHANNELS];
  }

  // to[r - row0][k - k0] for the output pixels [row0, row1) and columns [k0, k1).
  void gather(int64_t row0, int64_t row1, int64_t k0, int64_t k1, float* to, int64_t ldto) const {
    for (int64_t row = row0; row < row1;) {
      const int64_t ow = row % c[C_OW], oh = row / c[C_OW] % c[C_OH], od = row / c[C_OW] / c[C_OH] % c[C_OD];
      const int64_t image = row / c[C_OW] / c[C_OH] / c[C_OD];
      const int64_t n = c[C_OW] - ow < row1 - row ? c[C_OW] - ow : row1 - row;  // pixels in this row of the output
      for (int64_t q = k0 / run; q * run < k1; q++) {
        const int64_t a = clip(k0 - q * run, 0, run), b = clip(k1 - q * run, 0, run);
        line(image, od, oh, ow, n, q, a, b, to + (row - row0) * ldto + q * run + a - k0, ldto);
      }
      row += n;
    }
  }

  // Floats [a, b) of run q of the patches of n pixels that follow each other in one row of the output.
  void line(int64_t image, int64_t od, int64_t oh, int64_t ow, int64_t n, int64_t q, int64_t a, int64_t b, float* to, int64_t ldto) const {
    const int64_t per_row = c[C_KW] / taps, kw = q % per_row, kh = q / per_row % c[C_KH], kd = q / per_row / c[C_KH];
    const int64_t id = od * c[C_SD] - c[C_PD] + kd * c[C_DD], ih = oh * c[C_SH] - c[C_PH] + kh * c[C_DH];
    if (id < 0 || id >= c[C_D] || ih < 0 || ih >= c[C_H]) {
      for (int64_t i = 0; i < n; i++) zero_floats(to + i * ldto, b - a);
      return;
    }
    const float* pixels = x + ((image * c[C_D] + id) * c[C_H] + ih) * c[C_W] * ldx;
    int64_t iw = ow * c[C_SW] - c[C_PW] + kw * c[C_DW];
    for (int64_t i = 0; i < n; i++, iw += c[C_SW], to += ldto) {
      const float* from = pixels + iw * ldx;
      if (iw >= 0 && iw + taps <= c[C_W]) copy_floats(to, from + a, b - a);
      else copy_run(to, from, a, b, clip(-iw, 0, taps) * c[C_CHANNELS], clip(c[C_W] - iw, 0, taps) * c[C_CHANNELS]);
    }
  }
};

}  // namespace
