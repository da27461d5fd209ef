// Every pair of entries of a codebook, for look-ups in memory where vectors have four lanes (README.md, Four lanes).
#pragma once

#include <stddef.h>
#include <stdint.h>

#if !defined(__AVX2__)
namespace {

typedef float vpair __attribute__((vector_size(8)));
constexpr int WORD_ROWS = sizeof(size_t) / 4;  // rows whose words of indices one load of an integer brings
constexpr int MOST_PAIRED = 5;                 // bits of an index: 8 KB of pairs

inline size_t rows_of_words(const int32_t* w) {
  size_t words;
  __builtin_memcpy(&words, w, sizeof words);
  return words;
}

// Every pair of entries of a table, the first one named by the low bits.
template <int BITS>
struct Pairs {
  vpair at[1 << (2 * BITS)];
  const float* table = nullptr;
  void make(const float* from) {
    if (table == from) return;
    table = from;
    for (int high = 0, i = 0; high < 1 << BITS; high++)
      for (int low = 0; low < 1 << BITS; low++, i++) at[i] = vpair{from[low], from[high]};
  }
  // Whether so many weights are worth making them.
  static bool pay(int64_t weights) { return weights >= 4 << (2 * BITS); }
};

}  // namespace
#endif
