// Windows on NEON: `tbl` looks bytes up, so a window is held as four planes, of each byte of its floats, and places lie byte by byte
// (README.md). Row 4 v + l of a panel has byte 4 l + v, so that what transposes bytes into floats leaves them in order.
#pragma once

#include "../gemm/planes_neon.h"
#include "window.h"

#if defined(__ARM_NEON)
namespace {

// Values of slot s of panel i of n that lie together, counted from the `first` one of them: those of `PlainFloats` and `PlainHalves`, or codes.
template <class Plain>
struct ByteValues {
  static constexpr int64_t TABLE = 0;  // bytes of scratch before the planes
  static constexpr int MOST_RUN = sizeof *Plain::v == sizeof(float) ? 3 : 1;  // slots at a time where that saves time
  static void write(const Windows*, uint8_t*) {}
  Plain plain;
  int64_t first;
  ByteValues(const Windows* m, int64_t panel, int64_t first_, const uint8_t*) : plain(m, panel), first(first_) {}
  [[gnu::always_inline]] void at(int64_t s, int n, int i, vf (&out)[4]) const {
    for (int v = 0; v < 4; v++) out[v] = plain.at(s, n * NV, (int)(first + i) * NV + v, vi{});
  }
};
// Two codes in a byte name two entries that one load brings: loads and integers have less to do here than vectors.
struct PairsOfCodes {
  static constexpr int64_t TABLE = 256 * 2 * sizeof(float);
  static constexpr int MOST_RUN = 3;
  static void write(const Windows* m, uint8_t* to) {
    const float* entries = (const float*)(m->base() + m->tables);
    float* pairs = (float*)to;
    for (int i = 0; i < 256; i++) {
      pairs[2 * i] = entries[i % 16];
      pairs[2 * i + 1] = entries[i / 16];
    }
  }
  const uint64_t* pairs;
  const uint8_t* codes;  // [slots][n][8]
  PairsOfCodes(const Windows* m, int64_t panel, int64_t first, const uint8_t* planes)
      : pairs((const uint64_t*)(planes - TABLE)), codes((const uint8_t*)(m->base() + m->values) + (m->start(panel) + first) * (PANEL / 2)) {}
  [[gnu::always_inline]] void at(int64_t s, int n, int i, vf (&out)[4]) const {
    uint64_t all;
    __builtin_memcpy(&all, codes + (s * n + i) * (PANEL / 2), sizeof all);
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
      const uint64x2_t two = vcombine_u64(vld1_u64(pairs + (all >> 16 * v & 255)), vdup_n_u64(0));
      out[v] = (vf)vld1q_lane_u64(pairs + (all >> (16 * v + 8) & 255), two, 1);
    }
  }
};

// All windows of a row of n floats as planes; there is room for whole windows.
template <int WB>
void write_planes(const float* x, int64_t n, uint8_t* planes) {
  constexpr int64_t WINDOW = 1 << WB;
  for (int64_t at = 0; at < n; at += WINDOW) Planes<WINDOW / 16>(x + (at + WINDOW <= n ? at : n - WINDOW)).write(planes + 4 * at);
}

// Sums of panels [first, first + COUNT) of P that lie together from `panel` on, RUN slots of each after the other in one window. x: the planes of a
// row. Windows are read again for each RUN, so that there is one loop.
template <int WB, class Values, int P, int COUNT, int RUN>
[[gnu::noinline]] void some_by_bytes(const Windows* m, int64_t panel, int64_t first, const uint8_t* x, vf* sums) {
  constexpr int64_t WINDOW = 1 << WB;
  const Values values(m, panel, first, x);
  const uint8_t* places = (const uint8_t*)(m->base() + m->words) + (m->start(panel) + first) * PANEL;
  const uint16_t* base = (const uint16_t*)(m->base() + m->bases);
  vf sum[COUNT][4] = {};
  for (int64_t s = 0; s < m->slots; s += RUN, places += RUN * P * PANEL) {
    const Planes<WINDOW / 16> window(x + (base[s] + WINDOW - 1) / WINDOW * WINDOW * 4);
#pragma GCC unroll 3
    for (int k = 0; k < RUN; k++)
#pragma GCC unroll 2
      for (int p = 0; p < COUNT; p++) {
        vf seen[4], held[4];
        window.at(vld1q_u8(places + (k * P + p) * PANEL), seen);
        values.at(s + k, P, p, held);
        for (int v = 0; v < 4; v++) sum[p][v] += seen[v] * held[v];
      }
  }
  for (int p = 0; p < COUNT; p++)
    for (int v = 0; v < 4; v++) sums[(first + p) * NV + v] = sum[p][v];
}

// Sums of P panels from `panel` on; all have the same windows. Two at a time: their sums, a window and what is on its way fill the registers.
template <int WB, class Values, int P>
void sums_by_bytes(const Windows* m, int64_t panel, const float* planes, vf* sums) {
  const uint8_t* x = (const uint8_t*)planes;
  if constexpr (P == 4) {
#if defined(__aarch64__)
    constexpr int LONG = Values::MOST_RUN == 3 && WB == 6 ? 2 : Values::MOST_RUN, TWO = LONG > 1 ? 2 : 1;
#else
    constexpr int LONG = 1, TWO = 1;  // look-ups take long there
#endif
    for (int64_t first = 0; first < P; first += 2) {
      if (LONG == 3 && m->per_word == 3) some_by_bytes<WB, Values, P, 2, LONG>(m, panel, first, x, sums);
      else if (m->per_word == 2) some_by_bytes<WB, Values, P, 2, TWO>(m, panel, first, x, sums);
      else some_by_bytes<WB, Values, P, 2, 1>(m, panel, first, x, sums);
    }
  } else {
    some_by_bytes<WB, Values, P, P, 1>(m, panel, 0, x, sums);
  }
}

}  // namespace
#endif
