// A step in time of one sequence, of R in floats or halves: the product of the hidden state with R, and the cell of the same units right after it. While R
// comes from L2, which bounds the product, there is time for the activations; and threads meet once per step.
#include "../gemm/decode.h"
#include "cell.h"

namespace {

constexpr int UNITS = PANEL;  // hidden units of a work item, NV vectors
#if defined(__AVX2__) || defined(__aarch64__)
constexpr int PASS = NV;  // vectors whose sums are in registers at a time
#else
constexpr int PASS = NV < 2 ? NV : 2;
#endif

// Vector v of the units of a gate.
inline vf units_of(const float* p, int v) { return load(p + v * VL); }
inline vf units_of(const uint16_t* p, int v) { return load_half(p, v); }

// sums[gate][UNITS]: R of a work item, [hidden][gates][UNITS], times h.
template <int G, typename Element>
inline void multiply(const Element* r, const float* h, int64_t hidden, float* sums) {
  constexpr int DEPTH = G * PASS > 4 ? 1 : 8 / (G * PASS);  // sums of a gate side by side, to hide the latency of additions
  for (int v = 0; v < NV; v += PASS) {
    const Element* w = r;
    vf sum[DEPTH][G][PASS];
    for (int d = 0; d < DEPTH; d++)
      for (int g = 0; g < G; g++)
        for (int i = 0; i < PASS; i++) sum[d][g][i] = vf{};
    int64_t k = 0;
    for (; k + DEPTH <= hidden; k += DEPTH) {
#pragma GCC unroll 8
      for (int d = 0; d < DEPTH; d++, w += G * UNITS) {
        const vf x = splat(h[k + d]);
#pragma GCC unroll 4
        for (int g = 0; g < G; g++)
#pragma GCC unroll 4
          for (int i = 0; i < PASS; i++) sum[d][g][i] += units_of(w + g * UNITS, v + i) * x;
      }
    }
    for (; k < hidden; k++, w += G * UNITS)
      for (int g = 0; g < G; g++)
        for (int i = 0; i < PASS; i++) sum[0][g][i] += units_of(w + g * UNITS, v + i) * splat(h[k]);
    for (int g = 0; g < G; g++)
      for (int i = 0; i < PASS; i++) {
        for (int d = 1; d < DEPTH; d++) sum[0][g][i] += sum[d][g][i];
        store(sums + g * UNITS + (v + i) * VL, sum[0][g][i]);
      }
  }
}

enum StepParam { BACKWARDS, HALVES };  // behind the cell's own: the last work item of a call comes first; elements of R are halves

// `units(first unit, how many, products of their gates)` for the work items [begin, end). Backwards every other step finds in the cache what the
// one before has read last.
template <int G, typename F>
inline void step(const Cell& cell, const float* h, int64_t begin, int64_t end, const int64_t* p, F units) {
  const int64_t hidden = cell.p[HIDDEN];
  for (int64_t done = begin; done < end; done++) {
    const int64_t item = p[BACKWARDS] ? begin + end - 1 - done : done, first = item * UNITS, at = item * hidden * G * UNITS;
    alignas(64) float sums[G * UNITS];
    if (p[HALVES]) multiply<G>((const uint16_t*)cell.call->buf[1] + at, h, hidden, sums);
    else multiply<G>((const float*)cell.call->buf[1] + at, h, hidden, sums);
    for (int i = 0; i < UNITS && first + i < hidden; i += VL) {
      vf r[G];
      for (int g = 0; g < G; g++) r[g] = load(sums + g * UNITS + i);
      const int64_t left = hidden - first - i;
      units(first + i, (int)(left < VL ? left : VL), r);
    }
  }
}

}  // namespace

// As the cells in recurrent.cpp, but buf 1 is R, [hidden / UNITS][hidden][gates][UNITS], rows that fill up any number.

THIN_KERNEL(rnn_step) {
  const Cell cell(call);
  step<1>(cell, (const float*)call->buf[2], begin, end, cell.p + OWN,
          [&](int64_t at, int n, const vf* r) __attribute__((always_inline)) { rnn_units(cell, 0, at, n, r); });
}

// buf 7 the hidden state before.
THIN_KERNEL(lstm_step) {
  const Cell cell(call);
  step<4>(cell, (const float*)call->buf[7], begin, end, cell.p + OWN + 3,
          [&](int64_t at, int n, const vf* r) __attribute__((always_inline)) { lstm_units(cell, 0, at, n, r); });
}

// linear_before_reset; buf 5 the bias that the reset gate scales, [hidden].
THIN_KERNEL(gru_step) {
  const Cell cell(call);
  step<3>(cell, (const float*)call->buf[2], begin, end, cell.p + OWN + 2, [&](int64_t at, int n, vf* r) __attribute__((always_inline)) {
    r[2] += get((const float*)call->buf[5] + at, n);
    gru_units(cell, 0, at, n, r, true);
  });
}
