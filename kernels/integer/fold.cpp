// What the taps of a transposed convolution of codes add: exact sums, gathered for each output pixel and finished there.
#include "../fold/taps.h"
#include "finish.h"

namespace {

enum Param { CHANNELS, GROUPS, STRIDE, PLACES, FINISH = PLACES + T_PLACES };  // STRIDE: of the table

}  // namespace

// buf: columns as `fold` has them, but int32, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param, with Place and
// FinishParam. An item is one row of the output.
THIN_KERNEL(fold_i8) {
  const int64_t *p = call->p, *places = p + PLACES, channels = p[CHANNELS], width = places[T_OW] * channels;
  const Finish f = {p + FINISH, (float*)call->buf[2], (int8_t*)call->buf[3], (const float*)call->buf[4], (const float*)call->buf[5],
                    (const uint8_t*)call->buf[6], channels};
  const Table table = Table(call->buf[1], p[STRIDE]);
  int32_t* row = (int32_t*)call->scratch;
  for (int64_t item = begin; item < end; item++) {
    __builtin_memset(row, 0, (size_t)width * sizeof(int32_t));
    add_taps(row, (const int32_t*)call->buf[0], item, channels, p[GROUPS], places);
    f.exactly(row, channels, places[T_OW], table, 0, item * places[T_OW], 0, channels);
  }
}
