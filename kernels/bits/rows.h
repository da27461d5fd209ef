// What every level shares: parameters, the packed weight, the row of activations, and how sums become outputs (README.md).
#pragma once

#include "finish.h"
#include "simd.h"

namespace {

typedef uint32_t vu __attribute__((vector_size(VL * 4)));

enum Param { K, N, BITS, UNSIGNED, X_ZERO, HAS_BIAS, ALPHA, LOW, HIGH, TABLE_AT, ZERO_AT, SUMS_AT, SCALE_AT, GRID };  // GRID: from an entry to the next, or 0
enum Buffer { CODES, X_SCALE, X_ZEROS, WEIGHT, BIAS, Y };  // X_ZEROS is read where X_ZERO is below -128, BIAS where HAS_BIAS is 1

constexpr int GROUP = 16;            // rows of a vector of 64 bytes: 4 columns of each lie in a lane
constexpr int PANEL_GROUPS = 4;      // groups of a panel, read side by side; the last panel may have fewer
constexpr int64_t LONGEST_STEP = 32;

// Bytes of a step of one group, and the columns that it holds: of 3 and 6 bits, fields are cut from three bytes.
template <int B> constexpr int STEP_BYTES = B == 3 || B == 6 ? 192 : 64;
template <int B> constexpr int STEP = 4 * (STEP_BYTES<B> / 64 * 8 / B);
template <int B> constexpr int FIELDS = STEP<B> / 4;
template <int B> constexpr int SEEN = 6 / B;  // fields that lie in the low 6 bits of a byte

// The row: int8 codes less 128 where they are uint8, padded with zeros to whole steps. In scratch.
struct Row {
  const int8_t* x;
  int64_t columns;
  int32_t sum;    // of the codes
  int32_t zero;   // their zero point
  bool has_least;  // -128 is among them
  explicit Row(const ThinCall* call) {
    const int64_t k = call->p[K];
    const uint8_t *codes = (const uint8_t*)call->buf[CODES], flip = call->p[UNSIGNED] ? 0x80 : 0;
    int8_t* to = (int8_t*)call->scratch;
    int32_t total = 0;
    uint8_t least = 0;
    for (int64_t i = 0; i < k; i++) to[i] = (int8_t)(codes[i] ^ flip);
    for (int64_t i = 0; i < k; i++) total += to[i], least |= to[i] == -128;
    for (int64_t i = k; i < k + LONGEST_STEP; i++) to[i] = 0;
    x = to, columns = k, sum = total, has_least = least;
    zero = (int32_t)(call->p[X_ZERO] < -128 ? *(const uint8_t*)call->buf[X_ZEROS] : call->p[X_ZERO]) - (flip ? 128 : 0);
  }
};

// Takes the zero points out of the raw sums of `count` rows from row `first` on, and makes outputs of them.
inline void finish(const ThinCall* call, const Row& row, int64_t first, int count, const int32_t* raw) {
  const int64_t* p = call->p;
  const char* w = (const char*)call->buf[WEIGHT];
  const int32_t *zero = (const int32_t*)(w + p[ZERO_AT]), *sums = (const int32_t*)(w + p[SUMS_AT]);
  const Finish done = {*(const float*)call->buf[X_SCALE], thin_f32(p[ALPHA]), thin_f32(p[LOW]), thin_f32(p[HIGH]),
                       (const float*)(w + p[SCALE_AT]), p[HAS_BIAS] ? (const float*)call->buf[BIAS] : nullptr, (float*)call->buf[Y]};
  for (int i = 0; i < count; i += VL) {  // the tables of zero points and sums are filled up to whole groups
    vu sum = (vu)loadi(raw + i) - (vu)loadi(zero + first + i) * (uint32_t)row.sum;  // wraps on its way to a sum that does not
    if (p[SUMS_AT]) sum -= (vu)loadi(sums + first + i) * (uint32_t)row.zero;
    done(first + i, (vi)sum, count - i < VL ? count - i : VL);
  }
}

// As `panel` of each level, but sums of indices times codes; only at levels and bits that ON_GRIDS names.
template <int B, int P>
inline void grid_panel(const uint8_t* w, int64_t apart, const Row& row, int64_t steps, int32_t* raw);

}  // namespace
