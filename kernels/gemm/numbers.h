// Weights looked up number by number with integer registers: loads look floats up where vectors of floats cannot be permuted (NEON's `tbl` finds
// bytes, which takes more instructions than the loads), and leave the units that multiply alone.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace {

// Words of BITS-bit indices of 16 rows: [word][row], and the floats that they name: [column][row]. A *look* is six to ten numbers: a word of a row,
// part of one that holds more, or, of few numbers, those of two rows. Looks go along the rows, ROUND for COUNT columns of all of them.
template <int BITS>
struct Numbers {
  static constexpr int ROWS = 16, PER = 32 / BITS, PARTS = BITS == 1 ? 4 : BITS == 2 ? 2 : 1, COUNT = PER / PARTS, HIGH = PER <= 4 ? 2 : 1;
  static constexpr uint64_t ROUND = ROWS / HIGH;
  const char* words;
  char* out;

  static uint64_t looks(int64_t columns) { return (uint64_t)((columns + PER - 1) / PER * PARTS) * ROUND; }  // for whole words

  // The first `count` columns of look i. `table_of`: the floats that a row's indices name.
  template <class Table, class Count>
  [[gnu::always_inline]] inline void look(uint64_t i, const Table& table_of, Count count) const {
    const uint64_t row = i % ROUND * HIGH, block = i / ROUND;
    uint32_t words_of[HIGH], found;
    __builtin_memcpy(words_of, words + 4 * (PARTS == 1 ? i * HIGH : block / PARTS * ROWS + row), sizeof words_of);
#pragma GCC unroll 2
    for (int r = 0; r < HIGH; r++) {
      const float* table = table_of(row + r);
      char* to = out + (block * (COUNT * ROWS) + row + r) * 4;
      size_t indices = words_of[r];  // of 64 bits, for which compilers take a field out by one instruction
      if (PARTS > 1) indices >>= block % PARTS * (COUNT * BITS);
      const int n = count;
#pragma GCC unroll 16
      for (int j = 0; j < n; j++) {
        __builtin_memcpy(&found, table + (indices >> (BITS * j) & ((1u << BITS) - 1)), sizeof found);
        __builtin_memcpy(to + j * 4 * ROWS, &found, sizeof found);
      }
    }
  }
  struct All {
    constexpr operator int() const { return COUNT; }
  };
  [[gnu::always_inline]] inline void look(uint64_t i, const float* table) const {
    look(i, [&](uint64_t) { return table; }, All());
  }
};

}  // namespace
