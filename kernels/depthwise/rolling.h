// How three kernel rows roll down an image: each row of it is read once and added to all the rows of output that it belongs to, whose sums
// wait in registers.
#pragma once

#include "taps.h"

namespace {

// `add(a, b, c)` adds the next row of the image as kernel row 0, 1 or 2 of the outputs whose sums are 0, 1 and 2 old; `next(i)` says that sum i
// has its kernel row i and is now sum i + 1; `write()` stores sum 2. Above: the first row lies in the image, else `add` is not called for it
// but `skip`; below: so does the last one.
template <int S, class Add, class Next, class Write, class Skip>
[[gnu::always_inline]] inline void roll(int64_t rows, bool above, bool below, Add add, Next next, Write write, Skip skip) {
  if (above) add(true, false, false);
  else skip();
  next(0);
  if (S == 1) {
    add(true, true, false);
    next(1);
    next(0);
    for (int64_t r = 1; r < rows; r++) {
      add(true, true, true);
      write();
      next(1);
      next(0);
    }
  } else {
    for (int64_t r = 1; r < rows; r++) {
      add(false, true, false);
      next(1);
      add(true, false, true);
      write();
      next(0);
    }
    add(false, true, false);
    next(1);
  }
  if (below) add(false, false, true);
  write();
}

// 3 × 3 with stride 1 or 2, at most one row of padding on each side.
inline bool rolls(const int64_t* p) {
  const bool square = p[KH] == 3 && p[KW] == 3 && p[DH] == 1 && p[DW] == 1 && p[SH] == p[SW] && p[SW] <= 2;
  return square && p[PH] <= 1 && p[PW] <= 1 && (p[OH] - 1) * p[SH] - p[PH] + 2 <= p[H] && (p[OW] - 1) * p[SW] - p[PW] + 2 <= p[W];
}

}  // namespace
