// y = W x for W in window16: rows in lanes, inputs looked up in registers; one work item per 4 panels of one row of x.
#include "window_neon.h"

#include <string.h>

namespace {

constexpr int64_t ITEM = 4;      // panels of a work item

template <int WB, bool ELASTIC>
inline Window<WB> window_of(const float* x, const uint16_t* base, int64_t slot) {
  if constexpr (ELASTIC) return Window<WB>(x + base[slot * 2], x + base[slot * 2 + 1]);
  else return Window<WB>(x + base[slot]);
}

#if defined(__AVX2__)
constexpr int64_t AHEAD = 2048;  // bytes between what is read and what is fetched

// Keeps the words in registers: GCC would rather load them again for each shift.
inline vi kept(vi x) {
  asm("" : "+v"(x));
  return x;
}

// Makes the sums of P panels from `panel` on. WB: bits of a place in a window, PER: slots of a word. ELASTIC: every slot has its own
// window and its own rows; else a slot is full, and all panels have the same windows.
template <int WB, int PER, class Values, int P, bool ELASTIC>
void sums_of(const Windows* m, int64_t panel, const float* x, vf* sums) {
  constexpr int N = P * NV, CODE = Values::CODE, DEPTH = N < 4 ? 2 : 1;
  const int64_t start = m->start(panel), slots = ELASTIC ? m->count(panel) : m->slots;
  const Values values(m, panel);
  const int32_t* word = (const int32_t*)(m->base() + m->words) + start / PER * PANEL;
  const uint16_t* base = (const uint16_t*)(m->base() + m->bases) + (ELASTIC ? start * 2 : 0);
  const uint16_t* mask = (const uint16_t*)(m->base() + m->masks) + start;
  vf sum[DEPTH][N] = {};
  const auto slot = [&](int64_t s, int k, const vi* held) __attribute__((always_inline)) {
    const Window<WB> window = window_of<WB, ELASTIC>(x, base, s + k);
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) {
      const vi symbol = held[i] >> place_bit(WB, PER, CODE, k);
      vf seen = window.at(symbol);
      if (ELASTIC) seen = only(seen, mask[s + k], i * VL);
      // Shifts wait for the same ports as permutes, loads do not (but elastic windows have many of their own): another load shifts by whole bytes.
      const int bit = code_bit(WB, PER, CODE, k);
      const vi code = Values::BESIDE ? symbol : CODE && !ELASTIC && bit % 8 == 0 ? loadi((const char*)(word + i * VL) + bit / 8) : held[i] >> bit;
      sum[k % DEPTH][i] += seen * values.at(s + k, N, i, code);
    }
  };
  int64_t s = 0;
  for (; s + PER <= slots; s += PER, word += N * VL) {
    vi held[N];
    for (int i = 0; i < N; i++) held[i] = kept(loadi(word + i * VL));
    for (int i = 0; i < P; i++) __builtin_prefetch((const char*)(word + i * PANEL) + AHEAD);
#pragma GCC unroll 8
    for (int k = 0; k < PER; k++) slot(s, k, held);
  }
  if (s < slots) {
    vi held[N];
    for (int i = 0; i < N; i++) held[i] = kept(loadi(word + i * VL));
#pragma GCC unroll 8
    for (int k = 0; k < PER - 1; k++)
      if (s + k < slots) slot(s, k, held);
  }
  for (int i = 0; i < N; i++) {
    for (int d = 1; d < DEPTH; d++) sum[0][i] += sum[d][i];
    sums[i] = sum[0][i];
  }
}
#else
constexpr int ANY = 0;     // slots of a word: as many as the weight says
[[maybe_unused]] constexpr int BYTES = -1;  // no words: places byte by byte (NEON)

// With 4 lanes: the sums of one panel, whose vectors are those from `at` on of a slot's n; `first` is the panel whose slots these are.
// Inputs are read one by one, so windows cost nothing to set up twice, and code for each number of slots of a word would only be large.
template <int WB, class Values, bool ELASTIC>
void sums_of_panel(const Windows* m, int64_t first, int n, int at, const float* x, vf* sums) {
  const int64_t start = m->start(first), slots = ELASTIC ? m->count(first) : m->slots, per = m->per_word;
  const Values values(m, first);
  const int32_t* word = (const int32_t*)(m->base() + m->words) + start / per * PANEL + at * VL;
  const uint16_t* base = (const uint16_t*)(m->base() + m->bases) + (ELASTIC ? start * 2 : 0);
  const uint16_t* mask = (const uint16_t*)(m->base() + m->masks) + start;
  vf sum[NV] = {};
  for (int64_t s = 0; s < slots; s += per, word += n * VL) {
    vi held[NV];
    for (int i = 0; i < NV; i++) held[i] = loadi(word + i * VL);
    const int64_t end = s + per < slots ? s + per : slots;
    for (int64_t k = s; k < end; k++) {
      const Window<WB> window = window_of<WB, ELASTIC>(x, base, k);
      for (int i = 0; i < NV; i++) {
        vf seen = window.at(held[i] >> place_bit(WB, (int)per, Values::CODE, (int)(k - s)));
        if (ELASTIC) seen = only(seen, mask[k], i * VL);
        sum[i] += seen * values.at(k, n, at + i, held[i] >> code_bit(WB, (int)per, Values::CODE, (int)(k - s)));
      }
    }
  }
  for (int i = 0; i < NV; i++) sums[i] = sum[i];
}

template <int WB, int PER, class Values, int P, bool ELASTIC>
void sums_of(const Windows* m, int64_t panel, const float* x, vf* sums) {
#if defined(__ARM_NEON)
  if constexpr (PER == BYTES) return sums_by_bytes<WB, Values, P>(m, panel, x, sums);
  else
#endif
  for (int i = 0; i < P; i++) sums_of_panel<WB, Values, ELASTIC>(m, panel, P * NV, i * NV, x, sums + i * NV);
}
#endif

struct Result {
  const float *scale, *bias;
  float* y;
  float low, high;
};

// Scales, adds the bias, clamps and writes the sums of a panel; in elastic ones rows may be in any order.
void finish(const Windows* m, int64_t panel, const vf* sums, const Result& r) {
  const int32_t* row = (const int32_t*)(m->base() + m->rows) + panel * PANEL;
  if (!m->elastic() && row[PANEL - 1] >= 0) {
    for (int v = 0; v < NV; v++) {
      const int64_t at = row[v * VL];
      store(r.y + at, clamp(sums[v] * load(r.scale + at) + load(r.bias + at), splat(r.low), splat(r.high)));
    }
    return;
  }
  float sum[PANEL];
  for (int v = 0; v < NV; v++) store(sum + v * VL, sums[v]);
  for (int lane = 0; lane < PANEL; lane++) {
    if (row[lane] < 0) continue;
    const float y = sum[lane] * r.scale[row[lane]] + r.bias[row[lane]];
    r.y[row[lane]] = y < r.low ? r.low : y > r.high ? r.high : y;
  }
}

// buf: packed weight, x, scale, bias, y. p: low, high, floats from one row of x to the next (all that the weight reads), the same of y.
// Scratch: a row of x, where it does not lie at a multiple of 64 bytes: every load of a window would touch two cache lines. By bytes: its planes, behind a table.
template <int WB, int PER, class Values, bool ELASTIC>
void gemv(const ThinCall* call, int64_t begin, int64_t end) {
  const Windows* m = (const Windows*)call->buf[0];
  const int64_t items = (m->panels + ITEM - 1) / ITEM;
  const float* x = nullptr;
  for (int64_t item = begin, held = -1; item < end; item++) {
    const int64_t row = item / items, first = item % items * ITEM, last = first + ITEM < m->panels ? first + ITEM : m->panels;
    if (row != held) {
      held = row;
      x = (const float*)call->buf[1] + row * call->p[2];
#if defined(__ARM_NEON)
      if constexpr (PER == BYTES) {
        uint8_t* planes = (uint8_t*)call->scratch + Values::TABLE;
        Values::write(m, planes - Values::TABLE);
        write_planes<WB>(x, call->p[2], planes);
        x = (const float*)planes;
      }
#endif
      if ((uintptr_t)x % 64) x = (const float*)memcpy(call->scratch, x, (size_t)call->p[2] * sizeof(float));
    }
    const Result result = {(const float*)call->buf[2], (const float*)call->buf[3], (float*)call->buf[4] + row * call->p[3],
                           thin_f32(call->p[0]), thin_f32(call->p[1])};
    vf sums[ITEM * NV];
    if (!ELASTIC && last - first == ITEM) {
      sums_of<WB, PER, Values, ITEM, false>(m, first, x, sums);
    } else {
      for (int64_t panel = first; panel < last; panel++) sums_of<WB, PER, Values, 1, ELASTIC>(m, panel, x, sums + (panel - first) * NV);
    }
    for (int64_t panel = first; panel < last; panel++) finish(m, panel, sums + (panel - first) * NV, result);
  }
}

template <class Values>
void plain(const ThinCall* call, int64_t begin, int64_t end) {
  const Windows* m = (const Windows*)call->buf[0];
  if (m->elastic()) return gemv<5, 6, Values, true>(call, begin, end);
#if defined(__ARM_NEON)
  if (m->bits == 4) return gemv<4, BYTES, ByteValues<Values>, false>(call, begin, end);
  if (m->bits == 5) return gemv<5, BYTES, ByteValues<Values>, false>(call, begin, end);
  gemv<6, BYTES, ByteValues<Values>, false>(call, begin, end);
#else
  if (m->bits == 4) return gemv<4, 8, Values, false>(call, begin, end);
  if (m->bits == 5) return gemv<5, 6, Values, false>(call, begin, end);
  gemv<6, 5, Values, false>(call, begin, end);
#endif
}

template <int WB, bool ELASTIC>
void codebook(const ThinCall* call, int64_t begin, int64_t end) {
  const Windows* m = (const Windows*)call->buf[0];
#if !defined(__AVX2__)
  if (m->entries == 0) return gemv<WB, ANY, ManyTables, ELASTIC>(call, begin, end);
#if defined(__ARM_NEON)
  if constexpr (!ELASTIC)
    if (m->entries <= 16) return gemv<WB, BYTES, PairsOfCodes, false>(call, begin, end);
#endif
  if (m->entries <= 16) return gemv<WB, ANY, OneTable<4>, ELASTIC>(call, begin, end);
  gemv<WB, ANY, OneTable<5>, ELASTIC>(call, begin, end);
#else
  constexpr int ONE = 32 / (WB + 1), THREE = 32 / (WB + 3);
  if (m->entries == 0) return gemv<WB, 2, ManyTables, ELASTIC>(call, begin, end);
  if (m->per_word == ONE) return gemv<WB, ONE, OneTable<4>, ELASTIC>(call, begin, end);
  if (WB == 4 && m->per_word == 5) return gemv<WB, 5, OneTable<4>, ELASTIC>(call, begin, end);
  if (THREE != 3 && m->per_word == THREE) return gemv<WB, THREE, OneTable<4>, ELASTIC>(call, begin, end);
#if defined(__AVX512F__)
  if constexpr (WB == 5)
    if (UpperTable::fits(m)) return gemv<WB, 3, UpperTable, ELASTIC>(call, begin, end);
#endif
  if (m->entries <= 16) return gemv<WB, 3, OneTable<4>, ELASTIC>(call, begin, end);
  gemv<WB, 3, OneTable<5>, ELASTIC>(call, begin, end);
#endif
}

}  // namespace

THIN_KERNEL(sparse_window_f32) { plain<PlainFloats>(call, begin, end); }
THIN_KERNEL(sparse_window_f16) { plain<PlainHalves>(call, begin, end); }
THIN_KERNEL(sparse_window_codebook) {
  const Windows* m = (const Windows*)call->buf[0];
  if (m->elastic()) return codebook<5, true>(call, begin, end);
  if (m->bits == 4) return codebook<4, false>(call, begin, end);
  if (m->bits == 5) return codebook<5, false>(call, begin, end);
  codebook<6, false>(call, begin, end);
}
