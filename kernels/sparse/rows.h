// The packed layout rows (README.md: byte by byte): for each tile of rows and chunk of columns the weights of one row after the other.
#pragma once

#include "one.h"

namespace {

// Header of a packed weight; offsets in bytes from its start.
struct RowTiles {
  int64_t tiles_per_group, rows, tile;       // of a group: tiles and rows; rows of a tile
  int64_t columns, chunks, chunk;            // of a group: columns and chunks of them; columns of a chunk
  int64_t bits;                              // of a symbol, below the column in a word; 0: columns are bytes, values apart
  int64_t starts, lists, index, values, tables, places;

  const char* base() const { return (const char*)this; }
};

// The rows of a tile that have weights in a chunk; sorted by how many, so that the length of a loop is mostly that of the one before.
struct RowOfChunk {
  uint16_t row, count;
};

// Of each tile and chunk: its first row of the list, its first weight.
struct StartOfChunk {
  uint32_t row, weight;
};

// Weights whose columns are loaded together: vectors of inputs take all that ports of loads have. Not on 32-bit ARM, whose 16 registers the sums
// fill: loops four times as long made its wheel 45 kB larger.
[[maybe_unused]] constexpr int FEW = 4;

template <class Word>
inline Word word_at(const void* p) {
  Word word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

// How weights are read, one by one: `at` i is the i-th weight of a tile's chunk; `row` counts from the group's first. Or FEW of them:
// `at` i, k is weight i + k, `some` the columns from i on.
struct FloatWeights {
  const uint8_t* column;
  const float* value;
  FloatWeights(const RowTiles* m, int64_t first, int64_t)
      : column((const uint8_t*)(m->base() + m->index) + first), value((const float*)(m->base() + m->values) + first) {}
  One at(int64_t i) const { return {column[i], value[i]}; }
  uint32_t some(int64_t i) const { return word_at<uint32_t>(column + i); }
  One at(int64_t i, int k, uint32_t some) const { return {(uint8_t)(some >> 8 * k), value[i + k]}; }
};
struct HalfWeights {
  const uint8_t* column;
  const uint16_t* value;
  HalfWeights(const RowTiles* m, int64_t first, int64_t)
      : column((const uint8_t*)(m->base() + m->index) + first), value((const uint16_t*)(m->base() + m->values) + first) {}
  One at(int64_t i) const { return {column[i], half(value[i])}; }
  uint32_t some(int64_t i) const { return word_at<uint32_t>(column + i); }
  One at(int64_t i, int k, uint32_t some) const { return {(uint8_t)(some >> 8 * k), half(value[i + k])}; }
};
struct SymbolWeights {
  const uint16_t* word;
  const float* table;
  int bits;
  SymbolWeights(const RowTiles* m, int64_t first, int64_t row)
      : word((const uint16_t*)(m->base() + m->index) + first),
        table((const float*)(m->base() + m->tables) + ((const int32_t*)(m->base() + m->places))[row]),
        bits((int)m->bits) {}
  One at(int64_t i) const { return one(word[i]); }
  uint64_t some(int64_t i) const { return word_at<uint64_t>(word + i); }
  One at(int64_t, int k, uint64_t some) const { return one((uint16_t)(some >> 16 * k)); }
  One one(uint32_t symbol) const { return {symbol >> bits, table[symbol & ((1u << bits) - 1)]}; }
};

// Calls `add` for each of a tile's `count` weights, in order.
template <class Weights, class Add>
[[gnu::always_inline]] inline void each_weight(const Weights& weights, int64_t count, const Add& add) {
  int64_t i = 0;
#if !defined(__arm__)
  for (; i + FEW <= count; i += FEW) {
    const auto some = weights.some(i);
#pragma GCC unroll 4
    for (int k = 0; k < FEW; k++) add(weights.at(i, k, some));
  }
#endif
  for (; i < count; i++) add(weights.at(i));
}

}  // namespace
