// Comparisons of floats, logic of booleans, and choices by them. A boolean is a byte, 0 or 1.
#include "kernel.h"
#include "strides.h"

namespace {

// z[i] = f(x[i], y[i]) along rows of broadcast operands. buf: x, y, z. p: elements per row, elements per item, strides of x and y along
// a row, then the outer dimensions (strides.h) of x and y. z is contiguous.
template <typename T, typename F>
inline void rows(const ThinCall* call, int64_t begin, int64_t end, F f) {
  const int64_t n = call->p[0], block = call->p[1], dx = call->p[2], dy = call->p[3], blocks = (n + block - 1) / block;
  for (int64_t item = begin; item < end; item++) {
    const Walk<2> walk(call->p + 4, item / blocks);
    const int64_t start = item % blocks * block, count = smaller(block, n - start);
    const T *x = (const T*)call->buf[0] + walk.at[0] + start * dx, *y = (const T*)call->buf[1] + walk.at[1] + start * dy;
    uint8_t* z = (uint8_t*)call->buf[2] + item / blocks * n + start;
    if (dx == 1 && dy == 1)
      for (int64_t i = 0; i < count; i++) z[i] = f(x[i], y[i]);
    else
      for (int64_t i = 0; i < count; i++) z[i] = f(x[i * dx], y[i * dy]);
  }
}

}  // namespace

THIN_KERNEL(equal) { rows<float>(call, begin, end, [](float x, float y) { return x == y; }); }
THIN_KERNEL(less) { rows<float>(call, begin, end, [](float x, float y) { return x < y; }); }
THIN_KERNEL(less_or_equal) { rows<float>(call, begin, end, [](float x, float y) { return x <= y; }); }
THIN_KERNEL(same) { rows<uint8_t>(call, begin, end, [](uint8_t x, uint8_t y) { return x == y; }); }
THIN_KERNEL(both) { rows<uint8_t>(call, begin, end, [](uint8_t x, uint8_t y) { return (uint8_t)(x & y); }); }
THIN_KERNEL(either) { rows<uint8_t>(call, begin, end, [](uint8_t x, uint8_t y) { return (uint8_t)(x | y); }); }
THIN_KERNEL(one_of_two) { rows<uint8_t>(call, begin, end, [](uint8_t x, uint8_t y) { return (uint8_t)(x ^ y); }); }

// buf: x, y. p: number of elements, elements per item. x are floats and y booleans, whether x is not a number.
THIN_KERNEL(is_nan) {
  const float* x = (const float*)call->buf[0];
  uint8_t* y = (uint8_t*)call->buf[1];
  for (int64_t i = begin * call->p[1]; i < smaller(end * call->p[1], call->p[0]); i++) y[i] = x[i] != x[i];
}

// As is_nan: whether x is not 0.
THIN_KERNEL(is_true) {
  const float* x = (const float*)call->buf[0];
  uint8_t* y = (uint8_t*)call->buf[1];
  for (int64_t i = begin * call->p[1]; i < smaller(end * call->p[1], call->p[0]); i++) y[i] = x[i] != 0;
}

// As is_nan for booleans x: the opposite.
THIN_KERNEL(opposite) {
  const uint8_t* x = (const uint8_t*)call->buf[0];
  uint8_t* y = (uint8_t*)call->buf[1];
  for (int64_t i = begin * call->p[1]; i < smaller(end * call->p[1], call->p[0]); i++) y[i] = x[i] ^ 1;
}

// As is_nan for booleans x and floats y: 1 for true, 0 for false.
THIN_KERNEL(as_float) {
  const uint8_t* x = (const uint8_t*)call->buf[0];
  float* y = (float*)call->buf[1];
  for (int64_t i = begin * call->p[1]; i < smaller(end * call->p[1], call->p[0]); i++) y[i] = (float)x[i];
}

// buf: condition, x, y, z. p: elements per row, elements per item, strides of condition, x and y along a row, then the outer dimensions
// (strides.h) of the three. z is contiguous.
THIN_KERNEL(select) {
  const int64_t n = call->p[0], block = call->p[1], dc = call->p[2], dx = call->p[3], dy = call->p[4], blocks = (n + block - 1) / block;
  for (int64_t item = begin; item < end; item++) {
    const Walk<3> walk(call->p + 5, item / blocks);
    const int64_t start = item % blocks * block, count = smaller(block, n - start);
    const uint8_t* c = (const uint8_t*)call->buf[0] + walk.at[0] + start * dc;
    const float *x = (const float*)call->buf[1] + walk.at[1] + start * dx, *y = (const float*)call->buf[2] + walk.at[2] + start * dy;
    float* z = (float*)call->buf[3] + item / blocks * n + start;
    for (int64_t i = 0; i < count; i++) {
      const float a = x[i * dx], b = y[i * dy];
      z[i] = c[i * dc] ? a : b;
    }
  }
}
