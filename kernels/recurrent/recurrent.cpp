// What a recurrent cell does between its products. One step in time per call.
#include "cell.h"

namespace {

constexpr int64_t CHUNK = 64;  // hidden units of a work item

// do_some(row, first unit, units) for runs of up to VL units.
template <typename F>
void each(const Cell& cell, int64_t begin, int64_t end, F do_some) {
  const int64_t hidden = cell.p[HIDDEN], chunks = (hidden + CHUNK - 1) / CHUNK;
  for (int64_t item = begin; item < end; item++) {
    const int64_t first = item % chunks * CHUNK, stop = first + CHUNK < hidden ? first + CHUNK : hidden;
    for (int64_t i = first; i < stop; i += VL) do_some(item / chunks, i, (int)(stop - i < VL ? stop - i : VL));
  }
}

// The products of `gates` gates.
inline void products(const Cell& cell, int64_t row, int64_t at, int n, int gates, vf* r) {
  for (int g = 0; g < gates; g++) r[g] = get(cell.at(1, row, PRODUCT_STRIDE) + g * cell.p[HIDDEN] + at, n);
}

}  // namespace

// All cells: buf 0 the inputs' part of the gates, 1 the product of the hidden state and R, 2 a state before, 3 y (the new hidden state),
// 4 the hidden state's copy after the last step (HAS_LAST). p: Param.

THIN_KERNEL(rnn_cell) {
  const Cell cell(call);
  each(cell, begin, end, [&](int64_t row, int64_t at, int n) {
    vf r[1];
    products(cell, row, at, n, 1, r);
    rnn_units(cell, row, at, n, r);
  });
}

// buf 2 the cell state before, 5 the one after, 6 the peepholes [3][hidden] in the order i, o, f. Own: stride of buf 5, whether there are
// peepholes, input_forget.
THIN_KERNEL(lstm_cell) {
  const Cell cell(call);
  each(cell, begin, end, [&](int64_t row, int64_t at, int n) {
    vf r[4];
    products(cell, row, at, n, 4, r);
    lstm_units(cell, row, at, n, r);
  });
}

// buf 2 the hidden state before, 5 the product for the gate h. Own: stride of buf 5, whether the reset gate scales that product
// (linear_before_reset).
THIN_KERNEL(gru_cell) {
  const Cell cell(call);
  const int64_t* own = cell.p + OWN;
  each(cell, begin, end, [&](int64_t row, int64_t at, int n) {
    vf r[3];
    products(cell, row, at, n, own[1] ? 2 : 1, r);
    r[2] = get((const float*)call->buf[5] + row * own[0] + at, n);
    gru_units(cell, row, at, n, r, own[1]);
  });
}

// y = reset gate * hidden state before: what R of the gate h is multiplied by, unless linear_before_reset.
THIN_KERNEL(gru_reset) {
  const Cell cell(call);
  const int64_t hidden = cell.p[HIDDEN];
  each(cell, begin, end, [&](int64_t row, int64_t at, int n) {
    const vf sum = get(cell.at(0, row, INPUT_STRIDE) + hidden + at, n) + get(cell.at(1, row, PRODUCT_STRIDE) + hidden + at, n);
    put(cell.at(3, row, Y_STRIDE) + at, cell.gate(0, sum) * get(cell.at(2, row, STATE_STRIDE) + at, n), n);
  });
}
