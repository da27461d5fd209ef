// Resizing the last two axes: every output is a weighted sum of taps along the rows times taps along the columns.
// Taps without a weight are not read into sums, so that what does not count may be infinite.
#include "kernel.h"
#include "simd.h"

namespace {

// y[k] = Σ weight[t] * x[at[t] * stride + k] for k < n.
inline void combine(const float* x, int64_t stride, const int32_t* at, const float* weight, int64_t taps, float* y, int64_t n) {
  for (int64_t k = 0; k < n; k += VL) {
    const int left = n - k < VL ? (int)(n - k) : VL;
    vf sum = {};
    for (int64_t t = 0; t < taps; t++) {
      if (weight[t] == 0) continue;
      const float* from = x + at[t] * stride + k;
      sum += splat(weight[t]) * (left == VL ? load(from) : load_n(from, left));
    }
    if (left == VL)
      store(y + k, sum);
    else
      store_n(y + k, sum, left);
  }
}

}  // namespace

// buf: x, index and weight of the rows' taps, of the columns' taps, y. p: rows and columns of x, of y, taps per row, per column.
// x is [outer, rows, columns], y likewise; index int32 and weight float are [rows of y, taps] and [columns of y, taps]. A single tap
// has the weight 1. An item is one row of y. Scratch: a row of x.
THIN_KERNEL(resample_planes) {
  const float *x = (const float*)call->buf[0], *row_weight = (const float*)call->buf[2], *column_weight = (const float*)call->buf[4];
  const int32_t *row = (const int32_t*)call->buf[1], *column = (const int32_t*)call->buf[3];
  const int64_t rows = call->p[0], columns = call->p[1], out_rows = call->p[2], out_columns = call->p[3];
  const int64_t row_taps = call->p[4], column_taps = call->p[5];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i = item % out_rows;
    const float* plane = x + item / out_rows * rows * columns;
    const float* line = plane + row[i * row_taps] * columns;
    if (row_taps > 1) {
      combine(plane, columns, row + i * row_taps, row_weight + i * row_taps, row_taps, (float*)call->scratch, columns);
      line = (const float*)call->scratch;
    }
    float* y = (float*)call->buf[5] + item * out_columns;
    if (column_taps == 1) {
      for (int64_t j = 0; j < out_columns; j++) y[j] = line[column[j]];
      continue;
    }
    for (int64_t j = 0; j < out_columns; j++) {
      float sum = 0;
      for (int64_t t = j * column_taps; t < (j + 1) * column_taps; t++)
        if (column_weight[t] != 0) sum += column_weight[t] * line[column[t]];
      y[j] = sum;
    }
  }
}

// As resample_planes for x [outer, rows, columns, channels]; p ends with the number of channels, and there is no scratch.
THIN_KERNEL(resample_channels) {
  const float *x = (const float*)call->buf[0], *row_weight = (const float*)call->buf[2], *column_weight = (const float*)call->buf[4];
  const int32_t *row = (const int32_t*)call->buf[1], *column = (const int32_t*)call->buf[3];
  const int64_t rows = call->p[0], columns = call->p[1], out_rows = call->p[2], out_columns = call->p[3];
  const int64_t row_taps = call->p[4], column_taps = call->p[5], n = call->p[6];
  for (int64_t item = begin; item < end; item++) {
    const int64_t i = item % out_rows;
    const float* plane = x + item / out_rows * rows * columns * n;
    for (int64_t j = 0; j < out_columns; j++) {
      float* y = (float*)call->buf[5] + (item * out_columns + j) * n;
      for (int64_t k = 0; k < n; k += VL) {
        const int left = n - k < VL ? (int)(n - k) : VL;
        vf sum = {};
        for (int64_t s = i * row_taps; s < (i + 1) * row_taps; s++) {
          if (row_weight[s] == 0) continue;
          vf along = {};
          for (int64_t t = j * column_taps; t < (j + 1) * column_taps; t++) {
            if (column_weight[t] == 0) continue;
            const float* from = plane + (row[s] * columns + column[t]) * n + k;
            along += splat(column_weight[t]) * (left == VL ? load(from) : load_n(from, left));
          }
          sum += splat(row_weight[s]) * along;
        }
        if (left == VL)
          store(y + k, sum);
        else
          store_n(y + k, sum, left);
      }
    }
  }
}
