// A band of input rows of a depthwise convolution of codes, in scratch: with its padding, as codes of the sign that dot wants, one plane per phase of
// the stride. There an output row is one flat run of bytes: what a tap reads of it lies a whole number of pixels further on.
#pragma once

#include "finish.h"

namespace {

constexpr int64_t CHUNK = 4 * VL;  // outputs at a time
constexpr int MOST_TAPS = 16;      // of a row of the filter

enum Param {
  C, H, WIDTH, OH, OW,  // channels, input and output
  KH, KW, SH, SW, PH, PW, DH, DW,
  BAND,    // output rows of a work item
  SIGNED,  // codes of x are int8
  PAD,     // the code of zero
  PERIOD,  // channels after which weights and table begin again: C, or a multiple of it and of CHUNK
  STRIDE,  // of the table
  ROOM,    // where in scratch there is room for the codes of a band; 0: nowhere
  FINISH
};

struct Layer {
  const ThinCall* call;
  const int64_t* p = call->p;
  int64_t quads = (p[KW] + 3) / 4;
  int64_t phases = p[SW];
  int64_t pixels = (p[OW] - 1) + ((p[KW] - 1) * p[DW]) / p[SW] + 1;  // of a phase
  int64_t phase_bytes = ((pixels * p[C] + CHUNK + 63) / 64 | 1) * 64;  // an odd number of cache lines, so that rows lie in different sets
  int64_t row_bytes = phases * phase_bytes;
  int64_t vectors = p[KH] * quads * 4;  // of a chunk's weights
  int32_t flip = flip_of(p[SIGNED]);
  const Table table = Table(call->buf[2], p[STRIDE]);
  int64_t taps_at[MOST_TAPS];  // where they lie in a row; those that are not there at the first one

  explicit Layer(const ThinCall* c) : call(c) {
    for (int64_t t = 0; t < 4 * quads; t++) taps_at[t] = t < p[KW] ? place_of_tap(t) : taps_at[0];
  }
  int64_t place_of_tap(int64_t tap) const {
    const int64_t u = tap * p[DW];
    return u % p[SW] * phase_bytes + u / p[SW] * p[C];
  }
};

inline void copy_flipped(int8_t* to, const int8_t* from, int64_t n, int32_t flip) {
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + CHUNK <= n; i += CHUNK) storei(to + i, loadi(from + i) ^ flip);
  if (i == n) return;
  if (n >= CHUNK) {  // the last ones with some that are there already
    storei(to + n - CHUNK, loadi(from + n - CHUNK) ^ flip);
    return;
  }
  for (; i + 16 <= n; i += 16) {
    int32_t words[4];
    __builtin_memcpy(words, from + i, 16);
    for (int j = 0; j < 4; j++) words[j] ^= flip;
    __builtin_memcpy(to + i, words, 16);
  }
  for (; i + 4 <= n; i += 4) {
    const int32_t word = load_word(from + i) ^ flip;
    __builtin_memcpy(to + i, &word, 4);
  }
  for (; i < n; i++) to[i] = (int8_t)(from[i] ^ (int8_t)flip);
}

// n bytes, and some more: what lies behind them in a phase is written later.
inline void fill(int8_t* to, int64_t n, int8_t pad) {
  const vi word = splati((uint8_t)pad * 0x01010101);
  for (int64_t i = 0; i < n; i += CHUNK) storei(to + i, word);
}

// As many 16 bytes as hold n.
inline void copy_beyond(int8_t* to, const int8_t* from, int64_t n, int32_t flip) {
  for (int64_t i = 0; i < n; i += 16) {
    int32_t words[4];
    __builtin_memcpy(words, from + i, 16);
    for (int j = 0; j < 4; j++) words[j] ^= flip;
    __builtin_memcpy(to + i, words, 16);
  }
}

// A row of the image (or none) into the phases at `to`.
inline void copy_row(const Layer& l, const int8_t* row, int8_t* to, int8_t pad) {
  const int64_t* p = l.p;
  const int64_t padded = l.pixels * p[SW];
  if (!row) {
    __builtin_memset(to, pad, (size_t)l.row_bytes);
    return;
  }
  if (p[SW] == 1) {
    const int64_t end = p[PW] + p[WIDTH] < padded ? p[PW] + p[WIDTH] : padded;
    fill(to, p[PW] * p[C], pad);
    if (end > p[PW]) copy_flipped(to + p[PW] * p[C], row, (end - p[PW]) * p[C], l.flip);
    fill(to + end * p[C], (padded - end) * p[C], pad);
    return;
  }
  const int64_t copied = (p[C] + 15) / 16 * 16;
  const int64_t whole = p[C] < CHUNK ? p[WIDTH] - (copied + p[C] - 1) / p[C] : -1;  // pixels up to this one may be copied by 16 bytes at a time
  for (int64_t u = 0, phase = 0; u < padded; u++, phase++) {
    if (phase == p[SW]) {
      phase = 0;
      to += p[C];
    }
    int8_t* at = to + phase * l.phase_bytes;
    const int64_t ix = u - p[PW];
    if (ix < 0 || ix >= p[WIDTH]) fill(at, p[C], pad);
    else if (ix <= whole) copy_beyond(at, row + ix * p[C], p[C], l.flip);
    else copy_flipped(at, row + ix * p[C], p[C], l.flip);
  }
}

}  // namespace
