// Panels one byte at a time, on any CPU.
#pragma once

#include "rows.h"

namespace {

template <int B>
struct Tables {
  const uint8_t* entries;
  Tables(const uint8_t* e, const Row&) : entries(e) {}
};

// What the top bits of three vectors hold (README.md), in the low 6 bits.
inline int rest(const uint8_t* w, int lane) {
  int word = 0;
  for (int i = 0; i < 3; i++) word ^= (w[64 * i + (lane & ~1)] | w[64 * i + (lane | 1)] << 8) >> (2 * i + 2);
  return word >> (lane % 2 * 8);
}

// Field f of byte `lane` of a step.
template <int B>
inline int field(const uint8_t* w, int f, int lane) {
  const int mask = (1 << B) - 1;
  if constexpr (STEP_BYTES<B> == 192) {
    if (f / SEEN<B> < 3) return w[64 * (f / SEEN<B>) + lane] >> (f % SEEN<B> * B) & mask;
    return rest(w, lane) >> (f % SEEN<B> * B) & mask;
  }
  return w[lane] >> (f * B) & mask;
}

template <int B, int P>
inline void panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, const Tables<B>& table, int32_t* raw) {
  for (int i = 0; i < GROUP * P; i++) raw[i] = 0;
  const int8_t* x = row.x;
  for (; steps > 0; steps--, x += STEP<B>, w += STEP_BYTES<B>)
    for (int p = 0; p < P; p++)
      for (int f = 0; f < FIELDS<B>; f++)
        for (int lane = 0; lane < 64; lane++) {
          const int found = field<B>(w + p * apart, f, lane);
          raw[GROUP * p + lane / 4] += (B == 8 ? found : table.entries[found]) * x[4 * f + lane % 4];
        }
}

template <int B> constexpr bool ON_GRIDS = false;  // whether indices are multiplied as they are

}  // namespace
