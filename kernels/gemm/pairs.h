// One row of activations where vectors have four lanes: weights are looked up in memory, a row of a panel for itself. NEON's `tbl` finds bytes, and
// making floats of them takes more instructions than a load for two weights does (README.md).
#pragma once

#include "alone.h"
#include "layer.h"
#include "pair_table.h"

#if !defined(__AVX2__)
namespace {

// The columns of a panel's last word, which is not full.
template <int BITS, class TableOf>
inline void last_columns(const int32_t* w, const float* x, int64_t n, const TableOf& table, float* total) {
  for (int r = 0; r < PANEL && n > 0; r++) {
    uint32_t word = (uint32_t)w[r];
    for (int64_t j = 0; j < n; j++, word >>= BITS) total[r] += table(r)[word & ((1u << BITS) - 1)] * x[j];
  }
}

// Two columns at a time.
template <int BITS>
void paired(const Layer& layer, int64_t item, const Pairs<BITS>& pairs, float* total) {
  constexpr int PER = per_word(BITS), COUNT = PER / 2;
  constexpr size_t MASK = (1 << (2 * BITS)) - 1;
  const float* x = layer.x(item);
  const int32_t* w = (const int32_t*)layer.packed.panel(item);
  const int64_t n = layer.p[K];
  vpair sum[PANEL] = {};
  int64_t k = 0;
  for (; k + PER <= n; k += PER, w += PANEL) {
    vpair at[COUNT];
    __builtin_memcpy(at, x + k, sizeof at);
#pragma GCC unroll 16
    for (int first = 0; first < PANEL; first += 4 * WORD_ROWS) {
      size_t words[4];
      for (int i = 0; i < 4; i++) words[i] = rows_of_words(w + first + i * WORD_ROWS);
#pragma GCC unroll 16
      for (int j = 0; j < COUNT; j++)
#pragma GCC unroll 8
        for (int r = 0; r < 4 * WORD_ROWS; r++)
          sum[first + r] += pairs.at[words[r / WORD_ROWS] >> (r % WORD_ROWS * 32 + 2 * BITS * j) & MASK] * at[j];
    }
  }
  for (int r = 0; r < PANEL; r++) total[r] = sum[r][0] + sum[r][1];
  last_columns<BITS>(w, x + k, n - k, [&](int) { return pairs.table; }, total);
}

// Weight by weight, ROWS rows in turn: large tables, and (OWN) rows that have each their own.
template <int BITS, bool OWN>
void singly(const Layer& layer, int64_t item, float* total) {
  constexpr int PER = per_word(BITS), ROWS = OWN ? 4 : PANEL, TURN = OWN ? 4 : 4 * WORD_ROWS;
  constexpr size_t MASK = (1 << BITS) - 1;
  const float *x = layer.x(item), *table = layer.packed.table(item);
  const int32_t* lanes = layer.packed.lanes(item);
  const auto table_of = [&](int r) { return OWN ? table + lanes[r] : table; };
  const int32_t* w = (const int32_t*)layer.packed.panel(item);
  const int64_t n = layer.p[K], whole = n / PER * PER;
  for (int first = 0; first < PANEL; first += ROWS) {
    const float* tables[ROWS];
    float sum[ROWS] = {};
    for (int r = 0; r < ROWS; r++) tables[r] = table_of(first + r);
    const int32_t* words = w + first;
    for (int64_t k = 0; k < whole; k += PER, words += PANEL) {
#pragma GCC unroll 16
      for (int first_row = 0; first_row < ROWS; first_row += TURN) {
        size_t held[TURN / WORD_ROWS];
        for (int i = 0; i < TURN / WORD_ROWS; i++) held[i] = rows_of_words(words + first_row + i * WORD_ROWS);
#pragma GCC unroll 32
        for (int j = 0; j < PER; j++)
#pragma GCC unroll 8
          for (int i = 0, r = first_row; i < TURN; i++, r++)
            sum[r] = alone(sum[r] + tables[r][held[i / WORD_ROWS] >> (i % WORD_ROWS * 32 + BITS * j) & MASK] * x[k + j]);
      }
    }
    for (int r = 0; r < ROWS; r++) total[first + r] = sum[r];
  }
  last_columns<BITS>(w + whole / PER * PANEL, x + whole, n - whole, table_of, total);
}

template <int BITS>
void looked_up(const ThinCall* call, int64_t begin, int64_t end) {
  const Layer layer(call);
  float total[PANEL];
  const int64_t panels = layer.panels * layer.p[GROUPS], run = layer.p[PACKED + W_PANELS_PER_TABLE];
  if constexpr (BITS <= MOST_PAIRED)
    if (!layer.packed.lanes(0) && Pairs<BITS>::pay((panels < run ? panels : run) * PANEL * layer.p[K])) {
      Pairs<BITS> pairs;
      for (int64_t item = begin; item < end; item++) {
        pairs.make(layer.packed.table(item));
        paired<BITS>(layer, item, pairs, total);
        layer.write(item, total);
      }
      return;
    }
  for (int64_t item = begin; item < end; item++) {
    if (layer.packed.lanes(item)) singly<BITS, true>(layer, item, total);
    else singly<BITS, false>(layer, item, total);
    layer.write(item, total);
  }
}

}  // namespace
#endif
