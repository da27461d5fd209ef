// What a recurrent cell does with the products of a step in time: activations of the gates, and the new states of up to VL hidden units.
#pragma once

#include "kernel.h"
#include "vmath.h"

namespace {

enum Function { RELU, TANH, SIGMOID, AFFINE, LEAKY_RELU, THRESHOLDED_RELU, SCALED_TANH, HARD_SIGMOID, ELU, SOFTSIGN, SOFTPLUS };
enum FunctionParam { F_NAME, F_ALPHA, F_BETA, F_PARAMS };

// Parameters of all cells; what a cell adds begins at OWN. A row is a sequence of the batch; strides are in floats, from row to row.
enum Param { HIDDEN, INPUT_STRIDE, STATE_STRIDE, PRODUCT_STRIDE, Y_STRIDE, LAST_STRIDE, HAS_LAST, CLIP, FUNCTIONS, OWN = FUNCTIONS + 3 * F_PARAMS };

__attribute__((noinline)) vf apply(const int64_t* f, vf x) {
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

  vf gate(int function, vf x) const { return free(function, clamp(x, -limit, limit)); }
  vf free(int function, vf x) const {
    const int64_t* f = p + FUNCTIONS + function * F_PARAMS;
    return f[F_NAME] == SIGMOID ? sigmoid_of(x) : f[F_NAME] == TANH ? tanh_of(x) : apply(f, x);  // inline what nearly all cells have
  }
  float* at(int buffer, int64_t row, int stride) const { return (float*)call->buf[buffer] + row * p[stride]; }

};

inline vf get(const float* p, int n) { return n == VL ? load(p) : load_n(p, n); }
inline void put(float* p, vf v, int n) {
  if (n == VL) store(p, v);
  else store_n(p, v, n);
}

// The states of the n <= VL units from `at` on of a row, from r, the products of the hidden state and R of their gates.

// h = f(x + r)
[[maybe_unused]] inline void rnn_units(const Cell& cell, int64_t row, int64_t at, int n, const vf* r) {
  const vf h = cell.gate(0, get(cell.at(0, row, INPUT_STRIDE) + at, n) + r[0]);
  put(cell.at(3, row, Y_STRIDE) + at, h, n);
  if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + at, h, n);
}

// Gates in the order i, o, f, c.
[[maybe_unused]] inline void lstm_units(const Cell& cell, int64_t row, int64_t at, int n, const vf* r) {
  const int64_t *own = cell.p + OWN, hidden = cell.p[HIDDEN];
  const float *peep = own[1] ? (const float*)cell.call->buf[6] : nullptr, *x = cell.at(0, row, INPUT_STRIDE) + at;
  const vf before = get(cell.at(2, row, STATE_STRIDE) + at, n);
  vf sum[4];
  for (int g = 0; g < 4; g++) sum[g] = get(x + g * hidden, n) + r[g];
  if (peep) {
    sum[0] += get(peep + at, n) * before;
    sum[2] += get(peep + 2 * hidden + at, n) * before;
  }
  const vf in = cell.gate(0, sum[0]), forget = own[2] ? 1.0f - in : cell.gate(0, sum[2]);
  const vf c = forget * before + in * cell.gate(1, sum[3]);
  if (peep) sum[1] += get(peep + hidden + at, n) * c;
  const vf h = cell.gate(0, sum[1]) * cell.free(2, c);
  put((float*)cell.call->buf[5] + row * own[0] + at, c, n);
  put(cell.at(3, row, Y_STRIDE) + at, h, n);
  if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + at, h, n);
}

// Gates in the order z, r, h. `scaled`: the reset gate scales r[2], which holds its bias.
[[maybe_unused]] inline void gru_units(const Cell& cell, int64_t row, int64_t at, int n, const vf* r, bool scaled) {
  const int64_t hidden = cell.p[HIDDEN];
  const float* x = cell.at(0, row, INPUT_STRIDE) + at;
  const vf before = get(cell.at(2, row, STATE_STRIDE) + at, n), z = cell.gate(0, get(x, n) + r[0]);
  const vf inner = scaled ? r[2] * cell.gate(0, get(x + hidden, n) + r[1]) : r[2];
  const vf h = (1.0f - z) * cell.gate(1, get(x + 2 * hidden, n) + inner) + z * before;
  put(cell.at(3, row, Y_STRIDE) + at, h, n);
  if (cell.p[HAS_LAST]) put(cell.at(4, row, LAST_STRIDE) + at, h, n);
}

}  // namespace
