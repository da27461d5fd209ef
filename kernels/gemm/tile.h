// What the micro-kernels of gemm work on: some rows of x × some panels × a run of columns.
#pragma once

#include "decode.h"

namespace {

struct Tile {
  const float* x;
  int64_t ldx;
  const float* w;  // [panels][n][16], panels ldw floats apart
  int64_t ldw, n;
  float* y;
  int64_t ldy;
  int columns;        // of y, at most panels * 16
  bool first, last;   // of the blocks of K: start from zero; finish
  const float *scale, *bias;
  float alpha, low, high;
};

// One vector of y of which `left` floats exist (perhaps none, perhaps more than a vector holds).
inline vf read_y(const float* y, int left) { return left >= VL ? load(y) : left > 0 ? load_n(y, left) : vf{}; }
inline void write_y(float* y, vf v, int left) {
  if (left >= VL) store(y, v);
  else if (left > 0) store_n(y, v, left);
}

}  // namespace
