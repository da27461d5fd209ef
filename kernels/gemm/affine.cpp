// y[N] = clamp(alpha * (W · x) + bias) for one row of activations and codes of 2 to 8 bits whose scale, and zero point, may change along a row:
// packed as for the kernels *_tiles (README.md), decoded in registers.
#include "grid_windows.h"

namespace {

typedef uint32_t vu __attribute__((vector_size(VL * 4)));

constexpr int MANTISSA = 23;                          // bits of a float's fraction
constexpr int SUMS = NV == 1 ? 4 : 2;          // of each row, to hide the latency of the additions
constexpr int64_t AHEAD = 4096;                       // bytes between what is read and what is fetched

#if defined(__AVX512F__)
constexpr int MOST_PLACES = 4, MOST_PERMUTED = 4;  // places whose constants fit the registers; bits of a code that one permute looks up
#elif defined(__AVX2__)
constexpr int MOST_PLACES = 2, MOST_PERMUTED = 3;
#else
constexpr int MOST_PLACES = 2, MOST_PERMUTED = 0;
#endif

// Codes become floats where they lie: a word whose code is in bits [p, p + BITS) of the fraction, all others zero, is the float 2^(23 - p) + code
// if its exponent says so. Less 2^(23 - p) + zero point that is exact. A word is shifted by some codes at a time, so that all have their turn at
// few places. Few bits are looked up: permutes need no mask.
template <int BITS>
struct Place {
  static constexpr bool LOOKED_UP = BITS <= MOST_PERMUTED;
  static constexpr int PER = per_word(BITS), FITTING = MANTISSA / BITS < MOST_PLACES ? MANTISSA / BITS : MOST_PLACES;
  static constexpr int PLACES = LOOKED_UP ? 1 : FITTING;

  static constexpr int of(int j) { return j % PLACES; }
  static constexpr int shift(int j) { return j / PLACES * PLACES * BITS; }
  // What is added to the code at a place.
  static constexpr float least(int place) { return LOOKED_UP ? 0.0f : (float)(1 << (MANTISSA - BITS * place)); }
  static inline vf raised(vu word, int place) {
    const vu mask = vu{} + (((1u << BITS) - 1) << (BITS * place)), one = vu{} + (uint32_t)((127 + MANTISSA - BITS * place) << MANTISSA);
#if defined(__AVX512F__)
    return (vf)_mm512_ternarylogic_epi32((__m512i)word, (__m512i)mask, (__m512i)one, 0xea);  // a & b | c
#else
    return (vf)((word & mask) | one);
#endif
  }
  static inline vf looked_up([[maybe_unused]] vu word, [[maybe_unused]] vf table) {
#if defined(__AVX512F__)
    return (vf)_mm512_permutexvar_ps((__m512i)word, (__m512)table);
#elif defined(__AVX2__)
    return (vf)_mm256_permutevar8x32_ps((__m256)table, (__m256i)word);
#else
    return vf{};
#endif
  }
};

// What a run of a panel is scaled with, and its zero points.
struct Runs {
  const int64_t* h;
  const float* scales;
  const uint8_t* zeros;
  int64_t apart;  // of the scales of two runs: a panel's rows, or one for all rows
  Runs(const char* base, int64_t panel)
      : h((const int64_t*)base), scales((const float*)(base + h[T_SCALE_AT]) + panel * h[T_SCALE_PANEL]),
        zeros((const uint8_t*)base + h[T_ZEROS_AT] + panel * h[T_SCALE_PANEL]), apart(h[T_SCALE_PANEL] ? PANEL : 1) {}
  vf scale(int64_t run, int v) const { return apart == 1 ? splat(scales[run]) : load(scales + run * PANEL + v * VL); }
  vf zero(int64_t run, int v) const {
    if (apart == 1) return splat((float)zeros[run]);
    typedef uint8_t bytes __attribute__((vector_size(VL)));
    bytes found;
    __builtin_memcpy(&found, zeros + run * PANEL + v * VL, sizeof found);
    return __builtin_convertvector(__builtin_convertvector(found, vi), vf);
  }
};

// One panel. ZEROS: each run has zero points of its own, else they are in the middle.
template <int BITS, bool ZEROS>
struct Row {
  typedef Place<BITS> P;
  static constexpr float MIDDLE = ZEROS ? 0 : 1 << (BITS - 1);
  vf sum[NV][SUMS], total[NV], less[NV][ZEROS ? P::PLACES : 1], table;

  explicit Row(const Runs& runs) {
    for (int i = 0; i < VL; i++) table[i] = (float)(i & ((1 << BITS) - 1)) - MIDDLE;
    for (int v = 0; v < NV; v++) {
      total[v] = vf{};
      for (int c = 0; c < SUMS; c++) sum[v][c] = vf{};
    }
    begin(runs, 0);
  }

  inline void begin(const Runs& runs, int64_t run) {
    if constexpr (ZEROS)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) {
        const vf zero = runs.zero(run, v);
#pragma GCC unroll 12
        for (int p = 0; p < P::PLACES; p++) less[v][p] = zero + P::least(p);
      }
  }

  // Scales what a run has summed up.
  inline void end(const Runs& runs, int64_t run) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) {
      vf all = sum[v][0];
      sum[v][0] = vf{};
#pragma GCC unroll 4
      for (int c = 1; c < SUMS; c++) all += sum[v][c], sum[v][c] = vf{};
      total[v] += all * runs.scale(run, v);
    }
  }

  // Code j of the words, less its zero point.
  inline vf value(int v, vu word, int j) const {
    const vu shifted = word >> P::shift(j);
    const vf found = P::LOOKED_UP ? P::looked_up(shifted, table) : P::raised(shifted, P::of(j));
    if constexpr (ZEROS) return found - less[v][P::of(j)];
    return P::LOOKED_UP ? found : found - splat(P::least(P::of(j)) + MIDDLE);
  }

  // A word of each row.
  inline void word(const int32_t* w, const float* x) {
    vu codes[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) codes[v] = (vu)loadi(w + v * VL);
    __builtin_prefetch((const char*)w + AHEAD);
#pragma GCC unroll 16
    for (int j = 0; j < P::PER; j++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) sum[v][j % SUMS] += value(v, codes[v], j) * x[j];
  }

  // Column j of a word, where runs end in it, or the row.
  inline void column(const int32_t* w, int j, float x) {
    for (int v = 0; v < NV; v++) {
      const vu code = (vu)loadi(w + v * VL) >> (BITS * j) & ((1u << BITS) - 1);
      const vf zero = ZEROS ? less[v][0] - P::least(0) : splat(1 << (BITS - 1));
      sum[v][0] += (__builtin_convertvector((vi)code, vf) - zero) * x;
    }
  }

  inline void columns(const int32_t* w, const float* x, int64_t n, const Runs& runs) {
    const int64_t length = runs.h[T_RUN];
    int64_t k = 0, run = 0, next = length < n ? length : n;
    const auto turn = [&] {
      end(runs, run);
      if (next < n) begin(runs, ++run);
      next = n - next < length ? n : next + length;
    };
    while (k < n) {
      for (; k + P::PER <= next; k += P::PER, w += PANEL) word(w, x + k);
      for (int j = 0; j < P::PER && k < n; j++, k++) {
        if (k == next) turn();
        if (j == 0 && k + P::PER <= next) break;
        column(w, j, x[k]);
        if (j == P::PER - 1) w += PANEL;
      }
    }
    turn();
  }
};

template <int BITS, bool ZEROS>
void panels(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
  const char* base = (const char*)call->buf[1];
  const int64_t* h = (const int64_t*)base;
  for (int64_t item = begin; item < end; item++) {
    const Runs runs(base, item);
    Row<BITS, ZEROS> row(runs);
    row.columns((const int32_t*)(base + h[T_HELD_AT] + item * h[T_HELD_BYTES]), layer.x(item), h[T_COLUMNS], runs);
    float total[PANEL];
    for (int v = 0; v < NV; v++) store(total + v * VL, row.total[v]);
    layer.write(item, total);
  }
}

template <int BITS>
void all(const ThinCall* call, int64_t begin, int64_t end) {
  if (((const int64_t*)call->buf[1])[T_ZEROS_AT]) panels<BITS, true>(call, begin, end);
  else panels<BITS, false>(call, begin, end);
}

void windows(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
  const char* base = (const char*)call->buf[1];
  const int64_t length = ((const int64_t*)base)[T_M];
  for (int64_t item = begin; item < end; item++) {
    const Runs runs(base, item);
    float total[PANEL];
    if (length == 16) grid_windows<4>(base, item, layer.x(item), runs, total);
    else if (length == 32) grid_windows<5>(base, item, layer.x(item), runs, total);
    else grid_windows<6>(base, item, layer.x(item), runs, total);
    layer.write(item, total);
  }
}

}  // namespace

// buf: x, packed weights (dense or windowed, affine), bias [panels * 16], y. p: Param. One work item per panel.
THIN_KERNEL(gemv_affine) {
  if (((const int64_t*)call->buf[1])[T_STRUCTURE] == T_WINDOWED) return windows(call, begin, end);
  switch (((const int64_t*)call->buf[1])[T_BITS]) {
    case 2: return all<2>(call, begin, end);
    case 3: return all<3>(call, begin, end);
    case 4: return all<4>(call, begin, end);
    case 5: return all<5>(call, begin, end);
    case 6: return all<6>(call, begin, end);
    case 7: return all<7>(call, begin, end);
    default: return all<8>(call, begin, end);
  }
}
