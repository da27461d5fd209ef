// What the micro-kernels of gemm work on: some rows of x × some panels × a run of columns.
#pragma once

#include "ahead.h"

namespace {

constexpr int64_t STEPS = 4;  // columns between looks ahead: more of them at a time would leave no room for the next multiply-adds

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
  int64_t ahead;      // floats from each weight to one that will be multiplied soon; 0: none
#if defined(__AVX512F__) || defined(__aarch64__)
  Ahead* next = nullptr;  // weights to be looked up meanwhile, if any
#endif
};

// Whether sums begin with the bias, and nothing is left to be done at the end but to clamp.
inline bool is_plain(const Tile& t) { return !t.scale && t.alpha == 1; }

// One vector of y of which `left` floats exist (perhaps none, perhaps more than a vector holds).
inline vf read_y(const float* y, int left) { return left >= VL ? load(y) : left > 0 ? load_n(y, left) : vf{}; }
inline void write_y(float* y, vf v, int left) {
  if (left >= VL) store(y, v);
  else if (left > 0) store_n(y, v, left);
}

}  // namespace
