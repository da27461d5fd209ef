// What the taps of a transposed convolution add, gathered for each output pixel (README.md).
#include "kernel.h"
#include "simd.h"

namespace {

enum Param { CHANNELS, GROUPS, LOW, HIGH, D, H, W, OD, OH, OW, KD, KH, KW, SD, SH, SW, PD, PH, PW, DD, DH, DW };

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

}  // namespace

// buf: columns [N * D * H * W][groups][KD * KH * KW][channels / groups], bias [channels], y [N * OD * OH * OW][channels]. p: Param.
// An item is one row of the output.
THIN_KERNEL(fold) {
  const int64_t *p = call->p, each = p[CHANNELS] / p[GROUPS], taps = p[KD] * p[KH] * p[KW], ld = taps * p[CHANNELS];
  const float *columns = (const float*)call->buf[0], *bias = (const float*)call->buf[1];
  const vf low = splat(thin_f32(p[LOW])), high = splat(thin_f32(p[HIGH]));
  for (int64_t item = begin; item < end; item++) {
    const int64_t oh = item % p[OH], od = item / p[OH] % p[OD], image = item / p[OH] / p[OD];
    float* row = (float*)call->buf[2] + item * p[OW] * p[CHANNELS];
    for (int64_t i = 0; i < p[OW] * p[CHANNELS]; i += p[CHANNELS]) __builtin_memcpy(row + i, bias, (size_t)p[CHANNELS] * sizeof(float));
    for (int64_t kd = 0; kd < p[KD]; kd++)
      for (int64_t kh = 0; kh < p[KH]; kh++) {
        const int64_t d = source(od, kd, p[PD], p[DD], p[SD], p[D]), h = source(oh, kh, p[PH], p[DH], p[SH], p[H]);
        if (d < 0 || h < 0) continue;
        const float* line = columns + ((image * p[D] + d) * p[H] + h) * p[W] * ld;
        for (int64_t kw = 0; kw < p[KW]; kw++) {
          const int64_t tap = (kd * p[KH] + kh) * p[KW] + kw;
          for (int64_t w = 0, ow = kw * p[DW] - p[PW]; w < p[W]; w++, ow += p[SW]) {
            if (ow < 0 || ow >= p[OW]) continue;
            for (int64_t g = 0; g < p[GROUPS]; g++)
              add(row + ow * p[CHANNELS] + g * each, line + w * ld + (g * taps + tap) * each, each);
          }
        }
      }
    float* stop = row + p[OW] * p[CHANNELS];
    for (; row + VL <= stop; row += VL) store(row, clamp(load(row), low, high));
    if (row < stop) store_n(row, clamp(load_n(row, (int)(stop - row)), low, high), (int)(stop - row));
  }
}
