// A step in time of one sequence, of R in floats or halves: the product of the hidden state with R, and the cell of the same units right after it. R comes
// from L2, which bounds the product; with AVX-512 the inputs' part of the gates of later steps is made meanwhile (ahead.h). Threads meet once per step.
#include "ahead.h"
#include "cell.h"

namespace {

constexpr int UNITS = PANEL;  // hidden units of a work item, NV vectors

// How R is read: so many floats at a time, and vectors whose sums are in registers at a time.
template <typename Element>
struct Read {
  typedef vf Vector;
  static constexpr int LENGTH = VL;
#if defined(__AVX2__) || defined(__aarch64__)
  static constexpr int PASS = NV;
#else
  static constexpr int PASS = NV < 2 ? NV : 2;
#endif
  static Vector at(const float* p) { return load(p); }
  static Vector at(const uint16_t* p) { return load_half(p, 0); }
};
#if defined(__AVX512F__)
// Conversions of 16 halves take twice as long as two of 8 (AMD Zen 4: 0.53 and 0.31 ns for 16 with their multiplication).
template <>
struct Read<uint16_t> {
  typedef float Vector __attribute__((vector_size(32)));
  static constexpr int LENGTH = 8, PASS = 2;
  static Vector at(const uint16_t* p) { return (Vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
};
#endif

enum StepParam { BACKWARDS, HALVES, AHEAD };  // behind the cell's own: the last rows of R come first; elements of R are halves; AheadParam

// sums[gate][UNITS]: R of a work item, [hidden][gates][UNITS], times h; S: 1 forwards, -1 backwards through the hidden state.
template <int G, int S, typename Element>
__attribute__((noinline)) void multiply(const Element* r, const float* h, int64_t hidden, float* sums) {
  typedef Read<Element> In;
  typedef typename In::Vector Vector;
  constexpr int PASS = In::PASS, DEPTH = G * PASS > 4 ? 1 : 8 / (G * PASS);  // sums of a gate side by side, to hide the latency of additions
  if (S < 0) r += (hidden - 1) * G * UNITS, h += hidden - 1;
  for (int v = 0; v < UNITS / In::LENGTH; v += PASS, r += PASS * In::LENGTH) {
    const Element* w = r;
    Vector sum[DEPTH][G][PASS];
    for (int d = 0; d < DEPTH; d++)
      for (int g = 0; g < G; g++)
        for (int i = 0; i < PASS; i++) sum[d][g][i] = Vector{};
    auto row = [&](int d, float value) __attribute__((always_inline)) {
      const Vector x = value - Vector{};  // in every lane
#pragma GCC unroll 4
      for (int g = 0; g < G; g++)
#pragma GCC unroll 4
        for (int i = 0; i < PASS; i++) sum[d][g][i] += In::at(w + g * UNITS + i * In::LENGTH) * x;
      w += S * G * UNITS;
    };
    int64_t k = 0;
    for (; k + DEPTH <= hidden; k += DEPTH) {
#pragma GCC unroll 8
      for (int d = 0; d < DEPTH; d++) row(d, h[S * (k + d)]);
    }
    for (; k < hidden; k++) row(0, h[S * k]);
    for (int g = 0; g < G; g++)
      for (int i = 0; i < PASS; i++) {
        for (int d = 1; d < DEPTH; d++) sum[0][g][i] += sum[d][g][i];
        __builtin_memcpy(sums + g * UNITS + (v + i) * In::LENGTH, &sum[0][g][i], sizeof(Vector));
      }
  }
}

#if defined(__AVX512F__)
// The same, with a column of `ahead` after each ROWS rows of R.
template <int G, int S, int ROWS>
__attribute__((noinline)) void multiply_beside(const float* r, const float* h, int64_t hidden, float* sums, Ahead& ahead) {
  constexpr int DEPTH = G > 2 ? 1 : 4 / G;
  if (S < 0) r += (hidden - 1) * G * UNITS, h += hidden - 1;
  vf sum[DEPTH][G];
  for (int d = 0; d < DEPTH; d++)
    for (int g = 0; g < G; g++) sum[d][g] = vf{};
  auto rows = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int d = 0; d < ROWS; d++, r += S * G * UNITS) {
      const vf x = splat(h[S * d]);
#pragma GCC unroll 4
      for (int g = 0; g < G; g++) sum[d % DEPTH][g] += load(r + g * UNITS) * x;
    }
    h += S * ROWS;
  };
  int64_t left = hidden;
  while (left >= ROWS) {
    int64_t n = left / ROWS;
    if (!ahead.is_done() && n > ahead.p[INPUTS] - ahead.k) n = ahead.p[INPUTS] - ahead.k;
    left -= n * ROWS;
    if (!ahead.is_done()) ahead.multiply(n, rows);
    else for (; n > 0; n--) rows();
  }
  for (; left > 0; left--, r += S * G * UNITS, h += S)
    for (int g = 0; g < G; g++) sum[0][g] += load(r + g * UNITS) * splat(*h);
  for (int g = 0; g < G; g++) {
    for (int d = 1; d < DEPTH; d++) sum[0][g] += sum[d][g];
    store(sums + g * UNITS, sum[0][g]);
  }
}
#endif

// Products with h of the work items [begin, end), in floats, and what is done ahead beside them.
template <int G, int S>
struct Floats {
  const float* h;
  int64_t hidden;
#if defined(__AVX512F__)
  Ahead ahead;
  bool is_alone, is_dense;  // nothing is done ahead in this step; few rows of R for a column of that. Of the step, as sums must not depend on threads.

  inline Floats(const float* h_, int64_t hidden_, const int64_t* p, void* const* buf, int64_t begin, int64_t end)
      : h(h_), hidden(hidden_), ahead(p, buf, begin, end, (hidden + UNITS - 1) / UNITS), is_alone(p[FIRST_TILE] == p[LAST_TILE]),
        is_dense((hidden + UNITS - 1) / UNITS * hidden < 8 * (p[LAST_TILE] - p[FIRST_TILE]) * p[INPUTS]) {}
  inline void operator()(const float* r, float* sums) {
    if (is_alone) multiply<G, S>(r, h, hidden, sums);
    else if (is_dense) multiply_beside<G, S, 4>(r, h, hidden, sums, ahead);
    else multiply_beside<G, S, 8>(r, h, hidden, sums, ahead);
  }
  inline void finish() { ahead.finish(); }
#else
  inline Floats(const float* h_, int64_t hidden_, const int64_t*, void* const*, int64_t, int64_t) : h(h_), hidden(hidden_) {}
  inline void operator()(const float* r, float* sums) { multiply<G, S>(r, h, hidden, sums); }
  inline void finish() {}
#endif
};

// `product(R of a work item, sums)`, then `units(first unit, how many, products of their gates)` for the work items [begin, end). Backwards every other
// step finds in the caches what the one before has read last.
template <int G, int S, typename Element, typename P, typename F>
inline void items(const Cell& cell, int64_t begin, int64_t end, P product, F units) {
  const int64_t hidden = cell.p[HIDDEN];
  for (int64_t done = begin; done < end; done++) {
    const int64_t item = S < 0 ? begin + end - 1 - done : done, first = item * UNITS;
    alignas(64) float sums[G * UNITS];
    product((const Element*)cell.call->buf[1] + first * hidden * G, sums);
    for (int i = 0; i < UNITS && first + i < hidden; i += VL) {
      vf r[G];
      for (int g = 0; g < G; g++) r[g] = load(sums + g * UNITS + i);
      const int64_t left = hidden - first - i;
      units(first + i, (int)(left < VL ? left : VL), r);
    }
  }
}

template <int G, int S, typename F>
inline void directed(const Cell& cell, const float* h, int64_t begin, int64_t end, const int64_t* p, void* const* ahead, F units) {
  const int64_t hidden = cell.p[HIDDEN];
  if (p[HALVES])
    return items<G, S, uint16_t>(cell, begin, end, [&](const uint16_t* r, float* sums) { multiply<G, S>(r, h, hidden, sums); }, units);
  Floats<G, S> floats(h, hidden, p + AHEAD, ahead, begin, end);
  items<G, S, float>(cell, begin, end, [&](const float* r, float* sums) { floats(r, sums); }, units);
  floats.finish();
}

template <int G, typename F>
inline void step(const Cell& cell, const float* h, int64_t begin, int64_t end, const int64_t* p, void* const* ahead, F units) {
  if (p[BACKWARDS]) directed<G, -1>(cell, h, begin, end, p, ahead, units);
  else directed<G, 1>(cell, h, begin, end, p, ahead, units);
}

}  // namespace

// As the cells in recurrent.cpp, but buf 1 is R, [hidden / UNITS][hidden][gates][UNITS], rows that fill up any number. The buffers of ahead.h
// come last.

THIN_KERNEL(rnn_step) {
  const Cell cell(call);
  step<1>(cell, (const float*)call->buf[2], begin, end, cell.p + OWN, call->buf + 5,
          [&](int64_t at, int n, const vf* r) __attribute__((always_inline)) { rnn_units(cell, 0, at, n, r); });
}

// buf 7 the hidden state before.
THIN_KERNEL(lstm_step) {
  const Cell cell(call);
  step<4>(cell, (const float*)call->buf[7], begin, end, cell.p + OWN + 3, call->buf + 8,
          [&](int64_t at, int n, const vf* r) __attribute__((always_inline)) { lstm_units(cell, 0, at, n, r); });
}

// linear_before_reset; buf 5 the bias that the reset gate scales, [hidden].
THIN_KERNEL(gru_step) {
  const Cell cell(call);
  step<3>(cell, (const float*)call->buf[2], begin, end, cell.p + OWN + 2, call->buf + 6, [&](int64_t at, int n, vf* r) __attribute__((always_inline)) {
    r[2] += get((const float*)call->buf[5] + at, n);
    gru_units(cell, 0, at, n, r, true);
  });
}
