// Depthwise convolution of codes: one int8 filter per channel, channels in lanes, four taps of a row of the filter at a time.
#include "depthwise_filters.h"

namespace {

inline void widen(const Weights& weights, int64_t vectors, W* wide) {
  for (int64_t i = 0; i < vectors; i++) wide[i] = signed_words(loadi(weights.w + i * CHUNK));
}

// `count` output rows from `row` on, the first of whose input rows lies at `rows`. `wide`: room for the weights of a chunk, if WIDENS.
void output_rows(const Layer& l, const Finish& f, const int8_t* rows, int64_t row, int64_t count, W* wide) {
  const int64_t* p = l.p;
#if defined(__aarch64__)
  const int32_t* begun_as = (const int32_t*)(l.table.begun_bias + p[STRIDE]);  // of each chunk
  const bool to_codes = f.is_quick() && *begun_as != AS_THEY_ARE;  // which all are for filters of 129 taps and more
  ToCodes<FOLDED> folded(f, row);
  ToCodes<BASED> based(f, row);
#else
  const bool to_codes = f.is_quick();
  ToCodes<0> codes(f, row);
#endif
  const bool to_floats = (f.flags & (TO_FLOATS | TO_CODES)) == TO_FLOATS;
  const bool rolls = p[KH] == 3 && p[KW] == 3 && p[DH] == 1 && (p[SH] == 1 || p[SH] == 2) && (to_codes || to_floats);
  each_chunk(l, [&](const Chunk& chunk) {
    Weights weights = {(const int8_t*)l.call->buf[1] + chunk.index * l.vectors * CHUNK, l.table.start + chunk.index * CHUNK, wide};
    int32_t multiplied[CHUNK];
    if (f.flags & DYNAMIC_ZERO) {
      const int32_t zero = CODE_SHIFT - (int32_t)f.zeros[row / f.p[F_GROUP_ROWS]];
      for (int j = 0; j < 4; j++) storei(multiplied + j * VL, weights.first(j) * zero);
      weights.start = multiplied;
    }
    const int8_t* x = rows + chunk.at;
    if (WIDENS && !rolls) widen(weights, l.vectors, wide);
    if (to_floats) {
      float own[CHUNK];
      ToFloats end(l, f, row, chunk, own);
      chunk_of(l, rolls, weights, x, count, end);
    } else if (!to_codes) {
      Exactly end = {&f, &l.table, row, chunk};
      chunk_of(l, rolls, weights, x, count, end);
    } else {
#if defined(__aarch64__)
      Weights begun = weights;
      begun.start = l.table.begun_start + chunk.index * CHUNK;
      const bool is_folded = begun_as[chunk.index] == FOLDED;
      if (is_folded) folded.tell(l, chunk);
      else based.tell(l, chunk);
      uint64_t left = is_folded ? chunk_of(l, rolls, begun, x, count, folded) : chunk_of(l, rolls, begun, x, count, based);
#else
      codes.tell(l, chunk);
      uint64_t left = chunk_of(l, rolls, weights, x, count, codes);
#endif
      if (!left) return;
      if (WIDENS && rolls) widen(weights, l.vectors, wide);
#if defined(__aarch64__)
      Exactly end = {&f, &l.table, row, chunk};
#else
      ByDivision end(l, f, row, chunk);
#endif
      for (; left; left &= left - 1) some_rows<1>(l, weights, x, __builtin_ctzll(left), end);
    }
  });
}

}  // namespace

// buf: x, weights, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param. An item is a band of output rows of an image.
THIN_KERNEL(depthwise_i8) {
  const int64_t* p = call->p;
  const Layer l(call);
  const Finish f = {p + FINISH, (float*)call->buf[3], (int8_t*)call->buf[4], (const float*)call->buf[5], (const float*)call->buf[6],
                    (const uint8_t*)call->buf[7], p[OW] * p[C]};
  const int64_t bands = (p[OH] + p[BAND] - 1) / p[BAND];
  for (int64_t item = begin; item < end; item++) {
    const int64_t image = item / bands, first = item % bands * p[BAND], last = first + p[BAND] < p[OH] ? first + p[BAND] : p[OH];
    const int8_t* x = (const int8_t*)call->buf[0] + image * p[H] * p[WIDTH] * p[C];
    int8_t* scratch = (int8_t*)call->scratch;
    const bool own = f.flags & DYNAMIC_ZERO;
    const int8_t pad = (int8_t)((own ? (int8_t)f.zeros[image * p[OH] / f.p[F_GROUP_ROWS]] : (int8_t)p[PAD]) ^ (int8_t)l.flip);
    const int64_t needed = (last - first - 1) * p[SH] + (p[KH] - 1) * p[DH] + 1;
    for (int64_t r = 0; r < needed; r++) {
      const int64_t iy = first * p[SH] - p[PH] + r;
      copy_row(l, iy >= 0 && iy < p[H] ? x + iy * p[WIDTH] * p[C] : nullptr, scratch + r * l.row_bytes, pad);
    }
    const int64_t row = image * p[OH] + first;
    W* const wide = (W*)(scratch + needed * l.row_bytes);
    if (!p[ROOM] || item + 1 < end) {
      output_rows(l, f, scratch, row, last - first, wide);
      continue;
    }
    // Columns of codes are written with strides that prefetchers follow into the rows below, which another thread has in its cache.
    Finish beside = f;
    beside.codes = scratch + p[ROOM] - row * f.ld;
    output_rows(l, beside, scratch, row, last - first, wide);
    __builtin_memcpy(f.codes + row * f.ld, scratch + p[ROOM], (size_t)((last - first) * f.ld));
  }
}
