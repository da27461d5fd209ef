// Windows on NEON: `tbl` looks bytes up, so a window is held as four planes, of each byte of its floats, and places lie byte by byte
// (README.md). Row 4 v + l of a panel has byte 4 l + v, so that what transposes bytes into floats leaves them in order.
#pragma once

#include "../gemm/planes_neon.h"
#include "window.h"

#if defined(__ARM_NEON)
namespace {

// Values of slot s of panel i of n that lie together: those of `PlainFloats` and `PlainHalves`, or half bytes.
template <class Plain>
struct ByteValues {
  Plain plain;
  ByteValues(const Windows* m, int64_t panel) : plain(m, panel) {}
  [[gnu::always_inline]] void at(int64_t s, int n, int i, vf (&out)[4]) const {
    for (int v = 0; v < 4; v++) out[v] = plain.at(s, n * NV, i * NV + v, vi{});
  }
};
struct HalfBytes {
  Planes<1> table;
  const uint8_t* codes;
  HalfBytes(const Windows* m, int64_t panel)
      : table((const float*)(m->base() + m->tables)), codes((const uint8_t*)(m->base() + m->values) + m->start(panel) / 2 * PANEL) {}
  [[gnu::always_inline]] void at(int64_t s, int n, int i, vf (&out)[4]) const {
    const uint8x16_t two = vld1q_u8(codes + (s / 2 * n + i) * PANEL);
    table.at(s % 2 ? vshrq_n_u8(two, 4) : vandq_u8(two, vdupq_n_u8(15)), out);
  }
};

// All windows of a row of n floats as planes; there is room for whole windows.
template <int WB>
void write_planes(const float* x, int64_t n, uint8_t* planes) {
  constexpr int64_t WINDOW = 1 << WB;
  for (int64_t at = 0; at < n; at += WINDOW) Planes<WINDOW / 16>(x + (at + WINDOW <= n ? at : n - WINDOW)).write(planes + 4 * at);
}

// Sums of panels [FIRST, FIRST + COUNT) of P that lie together from `panel` on. x: the planes of a row.
template <int WB, class Values, int P, int FIRST, int COUNT>
[[gnu::noinline]] void some_by_bytes(const Windows* m, int64_t panel, const uint8_t* x, vf* sums) {
  constexpr int64_t WINDOW = 1 << WB;
  const Values values(m, panel);
  const uint8_t* places = (const uint8_t*)(m->base() + m->words) + m->start(panel) * PANEL + FIRST * PANEL;
  const uint16_t* base = (const uint16_t*)(m->base() + m->bases);
  vf sum[COUNT][4] = {};
  for (int64_t s = 0; s < m->slots;) {
    const uint16_t at = base[s];
    const Planes<WINDOW / 16> window(x + (at + WINDOW - 1) / WINDOW * WINDOW * 4);
    for (; s < m->slots && base[s] == at; s++, places += P * PANEL) {
#pragma GCC unroll 4
      for (int p = 0; p < COUNT; p++) {
        vf seen[4], held[4];
        window.at(vld1q_u8(places + p * PANEL), seen);
        values.at(s, P, FIRST + p, held);
        for (int v = 0; v < 4; v++) sum[p][v] += seen[v] * held[v];
      }
    }
  }
  for (int p = 0; p < COUNT; p++)
    for (int v = 0; v < 4; v++) sums[(FIRST + p) * NV + v] = sum[p][v];
}

// Sums of P panels from `panel` on; all have the same windows. Two at a time: their sums, a window and what is on its way fill the registers.
template <int WB, class Values, int P>
void sums_by_bytes(const Windows* m, int64_t panel, const float* x, vf* sums) {
  if constexpr (P == 4) {
    some_by_bytes<WB, Values, P, 0, 2>(m, panel, (const uint8_t*)x, sums);
    some_by_bytes<WB, Values, P, 2, 2>(m, panel, (const uint8_t*)x, sums);
  } else {
    some_by_bytes<WB, Values, P, 0, P>(m, panel, (const uint8_t*)x, sums);
  }
}

}  // namespace
#endif
