// Walks N strided tensors of one shape together, row by row in row-major order of their outer dimensions.
#pragma once

#include <stdint.h>

namespace {

constexpr int MAX_DIMS = 8;

// `p` holds: dims, shape[dims], then for each tensor strides[dims] (in elements).
template <int N>
struct Walk {
  int dims;
  const int64_t* shape;
  const int64_t* strides[N];
  int64_t index[MAX_DIMS];
  int64_t at[N];  // offset of the current row in each tensor

  Walk(const int64_t* p, int64_t row) : dims((int)p[0]), shape(p + 1) {
    for (int n = 0; n < N; n++) {
      strides[n] = shape + dims * (n + 1);
      at[n] = 0;
    }
    for (int d = dims - 1; d >= 0; d--) {
      index[d] = row % shape[d];
      row /= shape[d];
      for (int n = 0; n < N; n++) at[n] += index[d] * strides[n][d];
    }
  }

  void next() {
    for (int d = dims - 1; d >= 0; d--) {
      for (int n = 0; n < N; n++) at[n] += strides[n][d];
      if (++index[d] < shape[d]) return;
      for (int n = 0; n < N; n++) at[n] -= shape[d] * strides[n][d];
      index[d] = 0;
    }
  }
};

[[maybe_unused]] inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace
