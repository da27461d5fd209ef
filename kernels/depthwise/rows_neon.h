// 3×3 on 64-bit ARM: seven pixels of a row, whose sums, nine taps and bounds stay in registers. Loads hide behind multiply-adds, so the image is
// read anew for each row of output: sums that roll down (rolling.h) would have to be moved, on the pipes that multiply.
#pragma once

#include "clamp.h"
#include "taps.h"

namespace {

constexpr int ABREAST = 7;

// One vector of channels on its way down the image.
struct Column {
  const float* x;  // at the first column of kernel row 0
  int64_t down;    // floats to the next row of x
  float* y;
  int64_t out;     // to the next row of y
  int64_t step;    // to the next pixel
  const float* w;  // [9][16]
  vf bias, low, high;
};

// From memory each time, where compilers would copy a register: that takes a pipe of multiply-adds, a load does not.
[[gnu::always_inline]] inline vf loaded(const vf& from) {
  vf v;
  asm volatile("ldr %q0, %1" : "=w"(v) : "Q"(from));
  return v;
}

// Kernel rows [FIRST, LAST) lie in the image. LEFT, RIGHT: the first, the last column does not.
template <int S, int FIRST, int LAST, bool LEFT, bool RIGHT>
[[gnu::always_inline]] inline void pixels(const Column& c, const vf (&w)[9], const vf& bias) {
  constexpr int COLUMNS = (ABREAST - 1) * S + 3;
  vf sum[ABREAST];
#pragma GCC unroll 8
  for (int i = 0; i < ABREAST; i++) sum[i] = loaded(bias);
#pragma GCC unroll 3
  for (int row = FIRST; row < LAST; row++) {
    const float* x = c.x + row * c.down;
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++)
#pragma GCC unroll 8
      for (int i = 0; i < ABREAST; i++) {
        const int column = i * S + k;
        if ((column == 0 && LEFT) || (column == COLUMNS - 1 && RIGHT)) continue;
        sum[i] += load(x + column * c.step) * w[3 * row + k];
      }
  }
#pragma GCC unroll 8
  for (int i = 0; i < ABREAST; i++) store(c.y + i * c.step, clamped(sum[i], c.low, c.high));
}

// `rows` rows of seven pixels. Above, below: the first row of the image that they need exists, the last one does. There are two at least, so no
// row of output lacks both.
template <int S, bool LEFT, bool RIGHT>
[[gnu::noinline]] void go_down(const Column& from, bool above, bool below, int64_t rows) {
  Column c = from;
  vf w[9];
#pragma GCC unroll 16
  for (int i = 0; i < 9; i++) w[i] = load(c.w + i * PANEL);
  const auto next = [&]() __attribute__((always_inline)) {
    c.x += S * c.down;
    c.y += c.out;
  };
  int64_t r = above ? 0 : 1;
  if (!above) {
    pixels<S, 1, 3, LEFT, RIGHT>(c, w, from.bias);
    next();
  }
  for (const int64_t whole = below ? rows : rows - 1; r < whole; r++) {
    pixels<S, 0, 3, LEFT, RIGHT>(c, w, from.bias);
    next();
  }
  if (r < rows) pixels<S, 0, 2, LEFT, RIGHT>(c, w, from.bias);
}

}  // namespace
