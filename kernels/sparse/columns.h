// Brings what a block of output positions reads into scratch memory, as planes in which every tap of a convolution is one offset.
//
// Positions are numbered on a grid that is wider than the output by what the kernel reaches: then position + offset is where a tap reads, in
// the plane of the input that holds every stride-th element from the tap's phase on, with its padding. What lies between the rows
// of the output is computed and dropped. Or each tap has a plane of its own (COPIED): no position is wasted and all loads are aligned, but inputs
// are copied once for each tap.
#pragma once

#include "shuffle.h"
#include "strides.h"

namespace {

enum Inputs { PLANES, COPIED, IN_PLACE };  // IN_PLACE: x is such planes already, x_channel floats apart

// Parameters of sparse_spmm, in this order. Strides in floats; axes are plane, row, column.
struct Geometry {
  int64_t low, high;                        // floats
  int64_t batch, positions, block, inputs;  // positions of the grid, and of a work item; Inputs
  int64_t adds;                             // 1: what lies as y does is added to it before it is clamped
  int64_t channels, groups;                 // of a group
  int64_t size[3], out[3], kernel[3], stride[3], dilation[3], begin[3];
  int64_t x_image, x_channel, x_axis[3];
  int64_t y_image, y_channel, y_position;
};

// A piece of a row: `count` positions of a block from `at` on, the first of them at `place` in memory.
struct Piece {
  int64_t at, count, place;
};

struct Grid {
  const Geometry* g;
  int64_t reach[3], phases[3], apart[3];  // apart: elements of x from one phase to the next
  int64_t width, height;  // positions of a row, rows of a plane
  int64_t planes, plane;  // of a channel in scratch; floats of one

  explicit Grid(const Geometry* geometry) : g(geometry) {
    for (int a = 0; a < 3; a++) {
      const int64_t last = (g->kernel[a] - 1) * g->dilation[a];
      const bool copied = g->inputs == COPIED;
      reach[a] = copied ? 0 : last / g->stride[a];
      phases[a] = copied ? g->kernel[a] : smaller(g->stride[a], last + 1);
      apart[a] = copied ? g->dilation[a] : 1;
    }
    width = g->out[2] + reach[2];
    height = g->out[1] + reach[1];
    planes = phases[0] * phases[1] * phases[2];
    plane = (g->block + (reach[0] * height + reach[1]) * width + reach[2] + 15) / 16 * 16;
  }

  int64_t columns() const { return g->channels * g->kernel[0] * g->kernel[1] * g->kernel[2]; }
  int64_t floats() const { return g->channels * planes * plane; }

  // Of each column (channel, then tap): how far from a position's own float it reads.
  void offsets(int32_t* out) const {
    for (int64_t c = 0; c < g->channels; c++)
      for (int64_t z = 0; z < g->kernel[0]; z++)
        for (int64_t y = 0; y < g->kernel[1]; y++)
          for (int64_t x = 0; x < g->kernel[2]; x++) {
            const int64_t tap[3] = {z, y, x};
            int64_t at = c, offset = 0;
            for (int a = 0; a < 3; a++) {
              const bool copied = g->inputs == COPIED;
              const int64_t element = tap[a] * g->dilation[a];
              at = at * phases[a] + (copied ? tap[a] : element % g->stride[a]);
              offset = offset * (a == 1 ? height : width) + (copied ? 0 : element / g->stride[a]);
            }
            *out++ = (int32_t)(at * plane + offset);
          }
  }

  // Where the outputs among positions [first, first + count) lie in an image of y.
  int pieces(int64_t first, int64_t count, Piece* out) const {
    if (first + count <= g->out[2]) return out[0] = {0, count, first}, 1;  // of the first row, the only one of a matrix
    int found = 0;
    int64_t row = first / width, x = first % width;
    for (int64_t at = 0; at < count; row++) {
      const int64_t rest = smaller(width - x, count - at), y = row % height;
      if (x < g->out[2] && y < g->out[1]) out[found++] = {at, smaller(g->out[2] - x, rest), (row / height * g->out[1] + y) * g->out[2] + x};
      at += rest;
      x = 0;
    }
    return found;
  }
};

inline void copy_floats(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, (int)(n - i)), (int)(n - i));
}

inline void zero_floats(float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, vf{});
  if (i < n) store_n(y + i, vf{}, (int)(n - i));
}

// Every step-th float, n of them. Nothing past the last one is read.
inline void copy_strided(const float* x, int64_t step, float* y, int64_t n) {
  if (step == 1) return copy_floats(x, y, n);
  int64_t i = 0;
  if (step == 2)
    for (; i + VL < n; i += VL) store(y + i, evens(load(x + 2 * i), load(x + 2 * i + VL)));
  if (step == 4)
    for (; i + VL < n; i += VL) {
      const float* from = x + 4 * i;
      store(y + i, evens(evens(load(from), load(from + VL)), evens(load(from + 2 * VL), load(from + 3 * VL))));
    }
  for (; i < n; i++) y[i] = x[i * step];
}

// One piece of all channels, whose planes lie `apart` floats apart in out, where channels lie side by side in x (NHWC, or the rows of a matrix):
// VL positions × VL channels are transposed at a time.
inline void transpose_piece(const float* x, int64_t step, int64_t channels, const Piece& piece, float* out, int64_t apart) {
  for (int64_t i = 0; i < piece.count; i += VL) {
    const int wide = (int)smaller(VL, piece.count - i);
    const float* from = x + piece.place + i * step;
    for (int64_t c = 0; c < channels; c += VL) {
      const int deep = (int)smaller(VL, channels - c);
      vf rows[VL];
      for (int k = 0; k < VL; k++) rows[k] = k >= wide ? vf{} : deep == VL ? load(from + k * step + c) : load_n(from + k * step + c, deep);
      transpose(rows);
      for (int k = 0; k < VL; k++) {
        if (k >= deep) break;
        float* to = out + (c + k) * apart + piece.at + i;
        if (wide == VL)
          store(to, rows[k]);
        else
          store_n(to, rows[k], wide);
      }
    }
  }
}

// y[i * dy + r] = x[r * dx + i] for i < count, r < rows: a block of results as positions × outputs.
inline void scatter_rows(const float* x, int64_t dx, float* y, int64_t dy, int64_t count, int64_t rows) {
  for (int64_t r = 0; r < rows; r += VL) {
    const int deep = (int)smaller(VL, rows - r);
    for (int64_t i = 0; i < count; i += VL) {
      const int wide = (int)smaller(VL, count - i);
      vf lanes[VL];
      for (int k = 0; k < VL; k++) lanes[k] = k >= deep ? vf{} : wide == VL ? load(x + (r + k) * dx + i) : load_n(x + (r + k) * dx + i, wide);
      transpose(lanes);
      for (int k = 0; k < VL; k++) {
        if (k >= wide) break;
        if (deep == VL)
          store(y + (i + k) * dy + r, lanes[k]);
        else
          store_n(y + (i + k) * dy + r, lanes[k], deep);
      }
    }
  }
}

// What positions [first, first + block) read of one image, x: the group's first channel there. out: [channels][phases][plane].
inline void gather_planes(const Grid& grid, const float* x, int64_t first, float* out) {
  const Geometry* g = grid.g;
  const int64_t apart = grid.planes * grid.plane, step = g->stride[2] * g->x_axis[2];
  for (int64_t phase = 0; phase < grid.planes; phase++, out += grid.plane) {
    const int64_t px = phase % grid.phases[2] * grid.apart[2] - g->begin[2];
    const int64_t py = phase / grid.phases[2] % grid.phases[1] * grid.apart[1] - g->begin[1];
    const int64_t pz = phase / grid.phases[2] / grid.phases[1] * grid.apart[0] - g->begin[0];
    // the columns of the grid that lie inside x
    const int64_t left = px < 0 ? (-px + g->stride[2] - 1) / g->stride[2] : 0;
    const int64_t right = smaller(grid.width, (g->size[2] - px + g->stride[2] - 1) / g->stride[2]);
    int64_t done = 0;
    for (int64_t row = first / grid.width; row * grid.width < first + grid.plane; row++) {
      const int64_t z = row / grid.height * g->stride[0] + pz, y = row % grid.height * g->stride[1] + py;
      if (z < 0 || z >= g->size[0] || y < 0 || y >= g->size[1]) continue;
      const int64_t begin = row * grid.width + left - first, at = begin > 0 ? begin : 0;
      const int64_t end = smaller(row * grid.width + right - first, grid.plane);
      if (end <= at) continue;
      const int64_t column = (at + first - row * grid.width) * g->stride[2] + px;
      const Piece piece = {at, end - at, z * g->x_axis[0] + y * g->x_axis[1] + column * g->x_axis[2]};
      for (int64_t c = 0; c < g->channels; c++) zero_floats(out + c * apart + done, at - done);
      if (g->x_channel == 1)
        transpose_piece(x, step, g->channels, piece, out, apart);
      else
        for (int64_t c = 0; c < g->channels; c++) copy_strided(x + c * g->x_channel + piece.place, step, out + c * apart + at, piece.count);
      done = end;
    }
    for (int64_t c = 0; c < g->channels; c++) zero_floats(out + c * apart + done, grid.plane - done);
  }
}

}  // namespace
