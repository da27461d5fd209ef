// Decoder of the interleaved canonical Huffman codes of a .thin file (formats/SPEC.md, "Huffman").
// Plain pointers and status codes; nothing is allocated and nothing is read past the lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tuples.h"

namespace thin {

constexpr unsigned kMaxCodeLength = 15;
constexpr unsigned kMaxLanes = 8;

enum class HuffmanStatus { ok, bad_code, lane_too_short, lane_too_long };

// What a window of the next `bits` bits of a lane begins with: symbol << 4 | code length.
struct HuffmanTable {
  uint16_t entries[1u << kMaxCodeLength];
  unsigned bits;
};

// Symbol i lies in lane i % lanes; the lanes lie one after another in `payload` and have lane_bytes[i] bytes each.
struct HuffmanStream {
  const uint8_t* payload;
  const size_t* lane_bytes;
  unsigned lanes;  // 1, 2, 4 or 8
  size_t symbols;
};

// Reads the list of code lengths at the front of `data` (SPEC.md, "Code lengths") into lengths[alphabet], 1 <= alphabet <= kMaxAlphabet. Returns
// the bytes that it takes, or 0 if anything is wrong with it.
size_t huffman_lengths(const uint8_t* data, size_t nbytes, size_t alphabet, uint8_t* lengths);

// `lengths` must be a complete code of two symbols or more: bad_code otherwise.
HuffmanStatus huffman_table(const uint8_t* lengths, size_t alphabet, HuffmanTable* table);

// Writes stream.symbols symbols to `out`.
HuffmanStatus huffman_symbols(const HuffmanTable& table, const HuffmanStream& stream, uint16_t* out);

// As above, but every symbol is a tuple of p elements: writes stream.symbols * p elements.
HuffmanStatus huffman_tuples(const HuffmanTable& table, const HuffmanStream& stream, unsigned p, const TupleExpander& expander, uint8_t* out);

}  // namespace thin
