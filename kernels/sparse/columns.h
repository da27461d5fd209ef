// Brings a block of output positions into scratch memory as [K][BLOCK]: what a convolution's taps read for each of them.
#pragma once

#include <string.h>

#include "shuffle.h"
#include "strides.h"

namespace {

constexpr int64_t MOST_POSITIONS = 128;

// Parameters of sparse_spmm, in this order. Strides in floats; axes are plane, row, column, and positions of the output are
// numbered in that order.
struct Geometry {
  int64_t low, high;                       // floats
  int64_t batch, positions, block, direct;  // block: positions of a work item; direct: x is already [K][positions]
  int64_t channels, groups;                // of a group
  int64_t size[3], out[3], kernel[3], stride[3], dilation[3], begin[3];
  int64_t x_image, x_channel, x_axis[3];
  int64_t y_image, y_channel, y_position;
};

inline void copy_floats(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, (int)(n - i)), (int)(n - i));
}

// Every step-th float, n of them. Nothing past the last one is read.
inline void copy_strided(const float* x, int64_t step, float* y, int64_t n) {
  int64_t i = 0;
  if (step == 2)
    for (; i + VL < n; i += VL) store(y + i, evens(load(x + 2 * i), load(x + 2 * i + VL)));
  for (; i < n; i++) y[i] = x[i * step];
}

// A piece of a block: `count` positions from `at` on that read x from `from` on.
struct Run {
  int64_t at, count, from;
};

// The pieces that lie inside x for one tap, which reads at position × stride + offset; the rest of the block reads padding.
inline int runs_of_tap(const Geometry* g, int64_t first, int64_t count, const int64_t* offset, Run* runs) {
  int found = 0;
  int64_t row = first / g->out[2], ox = first % g->out[2];
  for (int64_t at = 0; at < count; row++) {
    const int64_t length = smaller(g->out[2] - ox, count - at);
    const int64_t iz = row / g->out[1] * g->stride[0] + offset[0], iy = row % g->out[1] * g->stride[1] + offset[1];
    if (iz >= 0 && iz < g->size[0] && iy >= 0 && iy < g->size[1]) {
      int64_t skip = 0, stop = length;
      while (skip < length && (ox + skip) * g->stride[2] + offset[2] < 0) skip++;
      while (stop > skip && (ox + stop - 1) * g->stride[2] + offset[2] >= g->size[2]) stop--;
      const int64_t ix = (ox + skip) * g->stride[2] + offset[2];
      if (stop > skip) runs[found++] = {at + skip, stop - skip, iz * g->x_axis[0] + iy * g->x_axis[1] + ix * g->x_axis[2]};
    }
    at += length;
    ox = 0;
  }
  return found;
}

// Positions lie side by side in x (NCHW).
inline void copy_runs(const float* x, const Geometry* g, const Run* runs, int found, float* out, int64_t taps) {
  const int64_t step = g->stride[2] * g->x_axis[2];
  for (int64_t c = 0; c < g->channels; c++, x += g->x_channel, out += taps * g->block) {
    for (int r = 0; r < found; r++) {
      if (step == 1) {
        copy_floats(x + runs[r].from, out + runs[r].at, runs[r].count);
      } else {
        copy_strided(x + runs[r].from, step, out + runs[r].at, runs[r].count);
      }
    }
  }
}

// Channels lie side by side in x (NHWC, or the rows of a matrix): VL positions × VL channels are transposed at a time.
inline void transpose_runs(const float* x, const Geometry* g, const Run* runs, int found, float* out, int64_t taps) {
  const int64_t step = g->stride[2] * g->x_axis[2];
  for (int r = 0; r < found; r++) {
    for (int64_t i = 0; i < runs[r].count; i += VL) {
      const int wide = (int)smaller(VL, runs[r].count - i);
      const float* from = x + runs[r].from + i * step;
      for (int64_t c = 0; c < g->channels; c += VL) {
        const int deep = (int)smaller(VL, g->channels - c);
        vf rows[VL];
        for (int k = 0; k < VL; k++) rows[k] = k >= wide ? vf{} : deep == VL ? load(from + k * step + c) : load_n(from + k * step + c, deep);
        transpose(rows);
        for (int k = 0; k < VL; k++) {
          if (k >= deep) break;
          float* to = out + (c + k) * taps * g->block + runs[r].at + i;
          if (wide == VL)
            store(to, rows[k]);
          else
            store_n(to, rows[k], wide);
        }
      }
    }
  }
}

// y[i * dy + r] = x[r * dx + i] for i < count, r < rows: a block of results as positions × outputs.
inline void scatter_rows(const float* x, int64_t dx, float* y, int64_t dy, int64_t count, int64_t rows) {
  for (int64_t r = 0; r < rows; r += VL) {
    const int deep = (int)smaller(VL, rows - r);
    for (int64_t i = 0; i < count; i += VL) {
      vf lanes[VL];
      for (int k = 0; k < VL; k++) lanes[k] = k < deep ? load(x + (r + k) * dx + i) : vf{};
      transpose(lanes);
      for (int k = 0; k < VL; k++) {
        if (i + k >= count) break;
        if (deep == VL)
          store(y + (i + k) * dy + r, lanes[k]);
        else
          store_n(y + (i + k) * dy + r, lanes[k], deep);
      }
    }
  }
}

// x: the group's first channel of one image. out: [channels, kernel…, block].
inline void gather_columns(const float* x, const Geometry* g, int64_t first, int64_t count, float* out) {
  const int64_t taps = g->kernel[0] * g->kernel[1] * g->kernel[2];
  Run runs[MOST_POSITIONS];
  for (int64_t tap = 0; tap < taps; tap++) {
    int64_t offset[3];
    for (int64_t axis = 2, rest = tap; axis >= 0; rest /= g->kernel[axis--])
      offset[axis] = rest % g->kernel[axis] * g->dilation[axis] - g->begin[axis];
    const int found = runs_of_tap(g, first, count, offset, runs);
    int64_t covered = 0;
    for (int r = 0; r < found; r++) covered += runs[r].count;
    float* to = out + tap * g->block;
    if (covered < g->block)
      for (int64_t c = 0; c < g->channels; c++) memset(to + c * taps * g->block, 0, (size_t)g->block * sizeof(float));
    if (g->x_channel == 1)
      transpose_runs(x, g, runs, found, to, taps);
    else
      copy_runs(x, g, runs, found, to, taps);
  }
}

}  // namespace
