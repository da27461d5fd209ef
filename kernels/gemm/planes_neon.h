// Floats looked up on NEON, whose `tbl` finds bytes: a table of floats is held as four planes, one of each byte, and what is found there is
// transposed into floats.
#pragma once

#include "simd.h"

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

// Floats whose bytes lie in four planes: of 16 N floats, or as `write` wrote them.
template <int N>
struct Planes {
  uint8x16_t byte[4][N];
  explicit Planes(const uint8_t* planes) {
    for (int b = 0; b < 4; b++)
      for (int i = 0; i < N; i++) byte[b][i] = vld1q_u8(planes + (b * N + i) * 16);
  }
  explicit Planes(const float* x) {
    for (int i = 0; i < N; i++) {
      const uint8x16x4_t read = vld4q_u8((const uint8_t*)(x + 16 * i));
      for (int b = 0; b < 4; b++) byte[b][i] = read.val[b];
    }
  }
  void write(uint8_t* planes) const {
    for (int b = 0; b < 4; b++)
      for (int i = 0; i < N; i++) vst1q_u8(planes + (b * N + i) * 16, byte[b][i]);
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

}  // namespace
#endif
