// Patches of a convolution over codes: rows of the im2col matrix, K in the order (kd, kh, kw, channel).
#pragma once

#include "../gemm/gather.h"

namespace {

// n bytes; for few of them quicker than a call.
inline void copy_run(int8_t* to, const int8_t* from, int64_t n) {
  if (n >= 16) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) __builtin_memcpy(to + i, from + i, 16);
    __builtin_memcpy(to + n - 16, from + n - 16, 16);
  } else if (n >= 8) {
    __builtin_memcpy(to, from, 8);
    __builtin_memcpy(to + n - 8, from + n - 8, 8);
  } else if (n >= 4) {
    __builtin_memcpy(to, from, 4);
    __builtin_memcpy(to + n - 4, from + n - 4, 4);
  } else {
    for (int64_t i = 0; i < n; i++) to[i] = from[i];
  }
}

// `count` runs as above, BYTES at a time: behind each the last ones are lost, and there must be such in both places.
template <int BYTES>
inline void copy_beyond(int8_t* to, int64_t ldto, const int8_t* from, int64_t step, int64_t count) {
  for (int64_t i = 0; i < count; i++, to += ldto, from += step) __builtin_memcpy(to, from, BYTES);
}

// `count` runs of `bytes`, `step` and `ldto` bytes apart. `room`: from the beginning of one to the end of its row.
inline void copy_runs(int8_t* to, int64_t ldto, const int8_t* from, int64_t step, int64_t bytes, int64_t count, int64_t room) {
  const int64_t reach = bytes <= 4 ? 4 : 8;
  if (bytes < 8 && reach <= room) {  // colours or points of a small filter; what a run writes too much the next one of its row mends
    const int64_t last = (reach - bytes + step - 1) / step, first = count - last > 0 ? count - last : 0;
    if (reach == 4) copy_beyond<4>(to, ldto, from, step, first);
    else copy_beyond<8>(to, ldto, from, step, first);
    for (int64_t i = first; i < count; i++) copy_run(to + i * ldto, from + i * step, bytes);
    return;
  }
  if (bytes >= 8 && bytes <= 16) {  // three pixels of a photo
    for (int64_t i = 0; i < count; i++, to += ldto, from += step) {
      int64_t first, last;
      __builtin_memcpy(&first, from, 8);
      __builtin_memcpy(&last, from + bytes - 8, 8);
      __builtin_memcpy(to, &first, 8);
      __builtin_memcpy(to + bytes - 8, &last, 8);
    }
    return;
  }
  for (int64_t i = 0; i < count; i++, to += ldto, from += step) copy_run(to, from, bytes);
}

struct CodePatches {
  const int8_t* x;     // first channel of the group
  int64_t ldx;         // bytes per pixel
  const int64_t* c;    // ConvParam
  const int8_t* pad;   // codes of zero: one, or one for each image (pads_by_image)
  bool pads_by_image;

  // to[r - row0][K] for the output pixels [row0, row1), rows ldto bytes apart.
  void gather(int64_t row0, int64_t row1, int8_t* to, int64_t ldto) const {
    const bool together = c[C_DW] == 1 && c[C_CHANNELS] == ldx;
    const int64_t run = together ? c[C_KW] : 1;
    int64_t ow = row0 % c[C_OW], oh = row0 / c[C_OW] % c[C_OH], od = row0 / c[C_OW] / c[C_OH] % c[C_OD], image = row0 / c[C_OW] / c[C_OH] / c[C_OD];
    for (int64_t row = row0; row < row1;) {
      const int64_t n = c[C_OW] - ow < row1 - row ? c[C_OW] - ow : row1 - row;
      line(image, od, oh, ow, n, run, to, ldto);
      row += n;
      to += n * ldto;
      ow = 0;
      if (++oh < c[C_OH]) continue;
      oh = 0;
      if (++od < c[C_OD]) continue;
      od = 0;
      image++;
    }
  }

  // Patches of n pixels that follow each other in one row of the output.
  void line(int64_t image, int64_t od, int64_t oh, int64_t ow, int64_t n, int64_t run, int8_t* to, int64_t ldto) const {
    const int8_t zero = pad[pads_by_image ? image : 0];
    const int64_t channels = c[C_CHANNELS], bytes = run * channels, width = c[C_W];
    for (int64_t kd = 0; kd < c[C_KD]; kd++)
      for (int64_t kh = 0; kh < c[C_KH]; kh++) {
        const int64_t id = od * c[C_SD] - c[C_PD] + kd * c[C_DD], ih = oh * c[C_SH] - c[C_PH] + kh * c[C_DH];
        const bool outside = id < 0 || id >= c[C_D] || ih < 0 || ih >= c[C_H];
        const int8_t* pixels = x + (outside ? 0 : ((image * c[C_D] + id) * c[C_H] + ih) * width * ldx);
        int8_t* at = to + (kd * c[C_KH] + kh) * c[C_KW] * channels;
        for (int64_t kw = 0; kw < c[C_KW]; kw += run, at += bytes) {
          const int64_t iw = ow * c[C_SW] - c[C_PW] + kw * c[C_DW], step = c[C_SW];
          // Runs [inside, beyond) lie within the row.
          const int64_t inside = outside ? n : clip((step - 1 - iw) / step, 0, n);
          const int64_t beyond = width - run < iw ? inside : clip((width - run - iw) / step + 1, inside, n);
          for (int64_t i = 0; i < inside; i++) part(at + i * ldto, pixels, iw + i * step, run, outside, zero);
          copy_runs(at + inside * ldto, ldto, pixels + (iw + inside * step) * ldx, step * ldx, bytes, beyond - inside, ldto - (at - to));
          for (int64_t i = beyond; i < n; i++) part(at + i * ldto, pixels, iw + i * step, run, outside, zero);
        }
      }
  }

  // A run that may reach over the ends of the row.
  void part(int8_t* to, const int8_t* pixels, int64_t iw, int64_t run, bool outside, int8_t zero) const {
    const int64_t channels = c[C_CHANNELS], first = outside ? run : clip(-iw, 0, run), last = outside ? run : clip(c[C_W] - iw, first, run);
    if (first > 0) __builtin_memset(to, zero, (size_t)(first * channels));
    if (last > first) copy_run(to + first * channels, pixels + (iw + first) * ldx, (last - first) * channels);
    if (last < run) __builtin_memset(to + last * channels, zero, (size_t)((run - last) * channels));
  }
};

}  // namespace
