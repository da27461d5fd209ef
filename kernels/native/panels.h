// Packs int8 weights for product_i8: panels of 16 rows of W, words of four columns of each row side by side (kernels/integer/README.md).
#pragma once

#include <stdint.h>

namespace thinfer {

// out[ceil(rows / 16)][ceil(columns / 4)][16][4] of w[rows][columns], whose bytes are XORed with `flip`; what fills it up is zero.
// sums[rows]: of the int8 that this gives.
void pack_panels(const uint8_t* w, int64_t rows, int64_t columns, uint8_t flip, uint8_t* out, int64_t* sums);

}  // namespace thinfer
