// What a recurrent cell does between its products: activations of the gates, and the new states. One step in time per call.
#include "kernel.h"
#include "vmath.h"

namespace {

constexpr int64_t CHUNK = 64;  // hidden units of a work item

enum Function { RELU, TANH, SIGMOID, AFFINE, LEAKY_RELU, THRESHOLDED_RELU, SCALED_TANH, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS };
enum FunctionParam { F_NAME, F_ALPHA, F_BETA, F_PARAMS };

// Parameters of all cells; what a cell adds begins at OWN. A row is a sequence of the batch; strides are in floats, from row to row.
enum Param { HIDDEN, INPUT_STRIDE, STATE_STRIDE, PRODUCT_STRIDE, Y_STRIDE, LAST_STRIDE, HAS_LAST, CLIP, FUNCTIONS, OWN = FUNCTIONS + 3 * F_PARAMS };

inline vf apply(const int64_t* f, vf x) {
  const vf alpha = splat(thin_f32(f[F_ALPHA])), beta = splat(thin_f32(f[F_BETA]));
  switch (f[F_NAME]) {
    case RELU: return vmax(x, vf{});
    case TANH: return tanh_of(x);
    case SIGMOID: return sigmoid_of(x);
    case AFFINE: return alpha * x + beta;
    case LEAKY_RELU: return x < 0.0f ? alpha * x : x;
    case THRESHOLDED_RELU: return x >= alpha ? x : vf{};
    case SCALED_TANH: return alpha * tanh_of(beta * x);
    case HARD_SIGMOID: return clamp(alpha * x + beta, vf{}, splat(1.0f));
    case ELU: return x < 0.0f ? alpha * expm1_of(x) : x;
    case SOFTSIGN: return x / (1.0f + abs_of(x));
    default: return softplus_of(x);
  }
}

// The part of the states that a work item covers, and what all cells do with it.
struct Cell {
  const ThinCall* call;
  const int64_t* p;
  vf limit;

  explicit Cell(const ThinCall* c) : call(c), p(c->p), limit(splat(thin_f32(c->p[CLIP]))) {}

  vf gate(int function, vf x) const { return apply(p + FUNCTIONS + function * F_PARAMS, clamp(x, -limit, limit)); }
  vf free(int function, vf x) const { return apply(p + FUNCTIONS + function * F_PARAMS, x); }
  float* at(int buffer, int64_t row, int stride) const { return (float*)call->buf[buffer] + row * p[stride]; }

  // do_some(row, first unit, units) for runs of up to VL units.
  template <typename F>
  void each(int64_t begin, int64_t end, F do_some) const {
    const int64_t chunks = (p[HIDDEN] + CHUNK - 1) / CHUNK;
    for (int64_t item = begin; item < end; item++) {
      const int64_t first = item % chunks * CHUNK, stop = first + CHUNK < p[HIDDEN] ? first + CHUNK : p[HIDDEN];
      for (int64_t i = first; i < stop; i += VL) do_some(item / chunks, i, (int)(stop - i < VL ? stop - i : VL));
    }
  }
};

inline vf get(const float* p, int n) { return n == VL ? load(p) : load_n(p, n); }
inline void put(float* p, vf v, int n) {
  if (n == VL) store(p, v);
  else store_n(p, v, n);
}

}  // namespace

// All cells: buf 0 the inputs' part of the gates, 1 the product of the hidden state and R, 2 a state before, 3 y (the new hidden state),
// 4 the hidden state's copy after the last step (HAS_LAST). p: Param.

// h = f(x + r)
THIN_KERNEL(rnn_cell) {
  const Cell cell(call);
  cell.each(begin, end, [&](int64_t row, int64_t i, int n) {
    const vf h = cell.gate(0, get(cell.at(0, row, INPUT_STRIDE) + i, n) + get(cell.at(1, row, PRODUCT_STRIDE) + i, n));
    put(cell.at(3, row, Y_STRIDE) + i, h, n);
    if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + i, h, n);
  });
}

// buf 2 the cell state before, 5 the one after, 6 the peepholes [3][hidden] in the order i, o, f. Own: stride of buf 5, whether there are
// peepholes, input_forget. Gates in the order i, o, f, c.
THIN_KERNEL(lstm_cell) {
  const Cell cell(call);
  const int64_t *own = cell.p + OWN, hidden = cell.p[HIDDEN];
  const float* peep = own[1] ? (const float*)call->buf[6] : nullptr;
  cell.each(begin, end, [&](int64_t row, int64_t at, int n) {
    const float *x = cell.at(0, row, INPUT_STRIDE) + at, *r = cell.at(1, row, PRODUCT_STRIDE) + at;
    const vf before = get(cell.at(2, row, STATE_STRIDE) + at, n);
    vf sum[4];
    for (int g = 0; g < 4; g++) sum[g] = get(x + g * hidden, n) + get(r + g * hidden, n);
    if (peep) {
      sum[0] += get(peep + at, n) * before;
      sum[2] += get(peep + 2 * hidden + at, n) * before;
    }
    const vf in = cell.gate(0, sum[0]), forget = own[2] ? 1.0f - in : cell.gate(0, sum[2]);
    const vf c = forget * before + in * cell.gate(1, sum[3]);
    if (peep) sum[1] += get(peep + hidden + at, n) * c;
    const vf h = cell.gate(0, sum[1]) * cell.free(2, c);
    put((float*)call->buf[5] + row * own[0] + at, c, n);
    put(cell.at(3, row, Y_STRIDE) + at, h, n);
    if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + at, h, n);
  });
}

// buf 2 the hidden state before, 5 the product for the gate h. Own: stride of buf 5, whether the reset gate scales that product
// (linear_before_reset). Gates in the order z, r, h.
THIN_KERNEL(gru_cell) {
  const Cell cell(call);
  const int64_t *own = cell.p + OWN, hidden = cell.p[HIDDEN];
  cell.each(begin, end, [&](int64_t row, int64_t at, int n) {
    const float *x = cell.at(0, row, INPUT_STRIDE) + at, *r = cell.at(1, row, PRODUCT_STRIDE) + at;
    const vf before = get(cell.at(2, row, STATE_STRIDE) + at, n);
    const vf z = cell.gate(0, get(x, n) + get(r, n));
    vf inner = get((const float*)call->buf[5] + row * own[0] + at, n);
    if (own[1]) inner *= cell.gate(0, get(x + hidden, n) + get(r + hidden, n));
    const vf h = (1.0f - z) * cell.gate(1, get(x + 2 * hidden, n) + inner) + z * before;
    put(cell.at(3, row, Y_STRIDE) + at, h, n);
    if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + at, h, n);
  });
}

// y = reset gate * hidden state before: what R of the gate h is multiplied by, unless linear_before_reset.
THIN_KERNEL(gru_reset) {
  const Cell cell(call);
  const int64_t hidden = cell.p[HIDDEN];
  cell.each(begin, end, [&](int64_t row, int64_t at, int n) {
    const vf sum = get(cell.at(0, row, INPUT_STRIDE) + hidden + at, n) + get(cell.at(1, row, PRODUCT_STRIDE) + hidden + at, n);
    put(cell.at(3, row, Y_STRIDE) + at, cell.gate(0, sum) * get(cell.at(2, row, STATE_STRIDE) + at, n), n);
  });
}
