#include "panels.h"

#include <string.h>

namespace thinfer {
namespace {

constexpr int64_t PANEL = 16, WORD = 4;
constexpr int64_t FLUSH = 128;  // words whose bytes, two of each, add up in 16 bits

// The bytes of a word as int8 more 128, added in two halves of 16 bits.
uint32_t halves(uint32_t word) {
  const uint32_t up = word ^ 0x80808080u;
  return (up & 0x00ff00ffu) + (up >> 8 & 0x00ff00ffu);
}

// One row: its words go to every 16th word of `to`. Returns the sum of its bytes as int8.
int64_t pack_row(const uint8_t* w, int64_t columns, uint32_t flip, uint8_t* to) {
  const int64_t whole = columns / WORD;
  int64_t sum = 0;
  for (int64_t first = 0; first < whole; first += FLUSH) {
    const int64_t last = first + FLUSH < whole ? first + FLUSH : whole;
    uint32_t parts = 0;
    for (int64_t i = first; i < last; i++) {
      uint32_t word;
      memcpy(&word, w + i * WORD, WORD);
      word ^= flip;
      parts += halves(word);
      memcpy(to + i * PANEL * WORD, &word, WORD);
    }
    sum += (parts & 0xffff) + (parts >> 16) - 128 * WORD * (last - first);
  }
  if (columns % WORD) {
    uint8_t rest[WORD] = {0, 0, 0, 0};
    for (int64_t i = 0; i < columns % WORD; i++) {
      rest[i] = (uint8_t)(w[whole * WORD + i] ^ (flip & 0xff));
      sum += (int8_t)rest[i];
    }
    memcpy(to + whole * PANEL * WORD, rest, WORD);
  }
  return sum;
}

}  // namespace

void pack_panels(const uint8_t* w, int64_t rows, int64_t columns, uint8_t flip, uint8_t* out, int64_t* sums) {
  const int64_t words = (columns + WORD - 1) / WORD;
  for (int64_t row = 0; row < rows; row++)
    sums[row] = pack_row(w + row * columns, columns, flip * 0x01010101u, out + row / PANEL * words * PANEL * WORD + row % PANEL * WORD);
  for (int64_t row = rows; row % PANEL; row++)
    for (int64_t i = 0; i < words; i++) memset(out + row / PANEL * words * PANEL * WORD + (i * PANEL + row % PANEL) * WORD, 0, WORD);
}

}  // namespace thinfer
