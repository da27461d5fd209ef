// What the taps of a transposed convolution add, gathered for each output pixel (README.md).
#include "taps.h"

namespace {

enum Param { CHANNELS, GROUPS, LOW, HIGH, PLACES };

}  // namespace

// buf: columns [N * D * H * W][groups][KD * KH * KW][channels / groups], bias [channels], y [N * OD * OH * OW][channels]. p: Param, Place.
// An item is one row of the output.
THIN_KERNEL(fold) {
  const int64_t *p = call->p, *places = p + PLACES, channels = p[CHANNELS], width = places[T_OW] * channels;
  const float* bias = (const float*)call->buf[1];
  const vf low = splat(thin_f32(p[LOW])), high = splat(thin_f32(p[HIGH]));
  for (int64_t item = begin; item < end; item++) {
    float* row = (float*)call->buf[2] + item * width;
    for (int64_t i = 0; i < width; i += channels) __builtin_memcpy(row + i, bias, (size_t)channels * sizeof(float));
    add_taps(row, (const float*)call->buf[0], item, channels, p[GROUPS], places);
    float* stop = row + width;
    for (; row + VL <= stop; row += VL) store(row, clamp(load(row), low, high));
    if (row < stop) store_n(row, clamp(load_n(row, (int)(stop - row)), low, high), (int)(stop - row));
  }
}
