// Windows on NEON: `tbl` looks bytes up, so a window is held as four planes, of each byte of its floats, and places lie byte by byte
// (README.md). Row 4 v + l of a panel has byte 4 l + v, so that what transposes bytes into floats leaves them in order.
#pragma once

#include "window.h"

#if defined(__ARM_NEON)
namespace {

// 16 numbers below 16 · N to the bytes of a table that they name.
template <int N>
inline uint8x16_t look_up(const uint8x16_t (&table)[N], uint8x16_t index) {
#if defined(__aarch64__)
  if constexpr (N == 1) return vqtbl1q_u8(table[0], index);
  else if constexpr (N == 2) return vqtbl2q_u8({{table[0], table[1]}}, index);
  else return vqtbl4q_u8({{table[0], table[1], table[2], table[3]}}, index);
#else
  uint8x8_t half[2] = {vget_low_u8(index), vget_high_u8(index)};
  for (uint8x8_t& i : half) {
    uint8x8_t found = vtbl2_u8({{vget_low_u8(table[0]), vget_high_u8(table[0])}}, i);
    for (int part = 1; part < N; part++)  // what lies outside of a part gives 0
      found = vorr_u8(found, vtbl2_u8({{vget_low_u8(table[part]), vget_high_u8(table[part])}}, vsub_u8(i, vdup_n_u8((uint8_t)(16 * part)))));
    i = found;
  }
  return vcombine_u8(half[0], half[1]);
#endif
}

// Floats whose bytes lie in four planes.
template <int N>
struct Planes {
  uint8x16_t byte[4][N];
  explicit Planes(const float* x) {
    for (int i = 0; i < N; i++) {
      const uint8x16x4_t read = vld4q_u8((const uint8_t*)(x + 16 * i));
      for (int b = 0; b < 4; b++) byte[b][i] = read.val[b];
    }
  }
  // The floats that 16 numbers name.
  [[gnu::always_inline]] void at(uint8x16_t index, vf (&out)[4]) const {
    const uint8x16x2_t low = vtrnq_u8(look_up<N>(byte[0], index), look_up<N>(byte[1], index));
    const uint8x16x2_t high = vtrnq_u8(look_up<N>(byte[2], index), look_up<N>(byte[3], index));
    for (int i = 0; i < 2; i++) {
      const uint16x8x2_t whole = vtrnq_u16(vreinterpretq_u16_u8(low.val[i]), vreinterpretq_u16_u8(high.val[i]));
      out[i] = (vf)whole.val[0];
      out[i + 2] = (vf)whole.val[1];
    }
  }
};

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

// Sums of P panels from `panel` on; all have the same windows.
template <int WB, class Values, int P>
[[gnu::noinline]] void sums_by_bytes(const Windows* m, int64_t panel, const float* x, vf* sums) {
  const Values values(m, panel);
  const uint8_t* places = (const uint8_t*)(m->base() + m->words) + m->start(panel) * PANEL;
  const uint16_t* base = (const uint16_t*)(m->base() + m->bases);
  vf sum[P][4] = {};
  for (int64_t s = 0; s < m->slots;) {
    const uint16_t at = base[s];
    const Planes<1 << (WB - 4)> window(x + at);
    for (; s < m->slots && base[s] == at; s++, places += P * PANEL) {
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) {
        vf seen[4], held[4];
        window.at(vld1q_u8(places + p * PANEL), seen);
        values.at(s, P, p, held);
        for (int v = 0; v < 4; v++) sum[p][v] += seen[v] * held[v];
      }
    }
  }
  for (int p = 0; p < P; p++)
    for (int v = 0; v < 4; v++) sums[p * NV + v] = sum[p][v];
}

}  // namespace
#endif
