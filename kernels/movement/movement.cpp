// Moving floats and bytes: strided copies by rows, transposition by tiles, rows picked by index.
#include "kernel.h"
#include "shuffle.h"
#include "strides.h"

namespace {

// y[i * dy + j] = x[j * dx + i] for i < a, j < b; a, b <= VL.
inline void tile(const float* x, int64_t dx, float* y, int64_t dy, int a, int b) {
  vf rows[VL];
  for (int j = 0; j < VL; j++) rows[j] = j >= b ? vf{} : a == VL ? load(x + j * dx) : load_n(x + j * dx, a);
  transpose(rows);
  for (int i = 0; i < VL; i++) {
    if (i >= a) break;
    if (b == VL)
      store(y + i * dy, rows[i]);
    else
      store_n(y + i * dy, rows[i], b);
  }
}

inline void full_tile(const float* x, int64_t dx, float* y, int64_t dy) {
  vf rows[VL];
  for (int j = 0; j < VL; j++) rows[j] = load(x + j * dx);
  transpose(rows);
  for (int i = 0; i < VL; i++) store(y + i * dy, rows[i]);
}

// Few floats lie side by side in y (an image's three colours): tiles would be mostly empty.
template <int B>
inline void narrow(const float* __restrict x, int64_t dx, float* __restrict y, int64_t dy, int64_t a) {
  for (int64_t i = 0; i < a; i++)
    for (int j = 0; j < B; j++) y[i * dy + j] = x[j * dx + i];
}

inline void copy_row(const float* x, float* y, int64_t n) {
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + VL <= n; i += VL) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, (int)(n - i)), (int)(n - i));
}

inline void fill_row(float value, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, splat(value));
  for (; i < n; i++) y[i] = value;
}

inline void strided_row(const float* x, int64_t dx, float* y, int64_t dy, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i * dy] = x[i * dx];
}

constexpr int64_t BLOCK = 64;  // a side of the blocks that copy_tiles works on: 16 KB read, 16 KB written

}  // namespace

// buf: x, y. p: floats per row, floats per item, inner strides of x and y, then the outer dimensions (strides.h) of x and y.
// An item is one block of a row. An inner stride of 0 in x spreads one float over the row.
THIN_KERNEL(copy_rows) {
  const int64_t n = call->p[0], block = call->p[1], dx = call->p[2], dy = call->p[3];
  const int64_t blocks = (n + block - 1) / block;
  Walk<2> walk(call->p + 4, begin / blocks);
  int64_t part = begin % blocks;
  for (int64_t item = begin; item < end; item++) {
    const int64_t start = part * block, count = smaller(block, n - start);
    const float* x = (const float*)call->buf[0] + walk.at[0] + start * dx;
    float* y = (float*)call->buf[1] + walk.at[1] + start * dy;
    if (dx == 1 && dy == 1)
      copy_row(x, y, count);
    else if (dx == 0 && dy == 1)
      fill_row(*x, y, count);
    else
      strided_row(x, dx, y, dy, count);
    if (++part == blocks) {
      part = 0;
      walk.next();
    }
  }
}

// buf: x, y. p: a, b, stride of x along b, stride of y along a, then the outer dimensions (strides.h) of x and y.
// x is contiguous along a, y along b. An item is a block of BLOCK × BLOCK floats.
THIN_KERNEL(copy_tiles) {
  const int64_t a = call->p[0], b = call->p[1], dx = call->p[2], dy = call->p[3];
  const int64_t a_blocks = (a + BLOCK - 1) / BLOCK, b_blocks = (b + BLOCK - 1) / BLOCK;
  for (int64_t item = begin; item < end; item++) {
    const Walk<2> walk(call->p + 4, item / (a_blocks * b_blocks));
    const int64_t a0 = item / b_blocks % a_blocks * BLOCK, b0 = item % b_blocks * BLOCK;
    const int64_t a1 = smaller(a, a0 + BLOCK), b1 = smaller(b, b0 + BLOCK);
    const float* x = (const float*)call->buf[0] + walk.at[0];
    float* y = (float*)call->buf[1] + walk.at[1];
    if (b == 3) {
      narrow<3>(x + a0, dx, y + a0 * dy, dy, a1 - a0);
      continue;
    }
    for (int64_t j = b0; j < b1; j += VL) {
      for (int64_t i = a0; i < a1; i += VL) {
        const int rows = (int)smaller(VL, a1 - i), columns = (int)smaller(VL, b1 - j);
        if (rows == VL && columns == VL)
          full_tile(x + j * dx + i, dx, y + i * dy + j, dy);
        else
          tile(x + j * dx + i, dx, y + i * dy + j, dy, rows, columns);
      }
    }
  }
}

// buf: x, y. p: bytes per row, inner strides of x and y, then the outer dimensions (strides.h) of x and y. An item is a row.
THIN_KERNEL(copy_bytes) {
  const int64_t n = call->p[0], dx = call->p[1], dy = call->p[2];
  Walk<2> walk(call->p + 3, begin);
  for (int64_t item = begin; item < end; item++, walk.next()) {
    const int8_t* x = (const int8_t*)call->buf[0] + walk.at[0];
    int8_t* y = (int8_t*)call->buf[1] + walk.at[1];
    if (dx == 1 && dy == 1)
      __builtin_memcpy(y, x, (size_t)n);
    else
      for (int64_t i = 0; i < n; i++) y[i * dy] = x[i * dx];
  }
}

// buf: x, index (int32, each below axis), y. p: axis, number of indices, floats per row. x is [outer, axis, row], y
// [outer, indices, row]. An item is one row of y.
THIN_KERNEL(gather_rows) {
  const float* x = (const float*)call->buf[0];
  const int32_t* index = (const int32_t*)call->buf[1];
  float* y = (float*)call->buf[2];
  const int64_t axis = call->p[0], count = call->p[1], n = call->p[2];
  for (int64_t item = begin; item < end; item++)
    copy_row(x + (item / count * axis + index[item % count]) * n, y + item * n, n);
}
