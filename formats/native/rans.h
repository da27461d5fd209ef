// rANS of a .thin file (formats/SPEC.md, "rANS"): 1, 2, 4 or 8 states take turns and share one sequence of 16-bit words
// (Duda, arXiv 1311.2540; Giesen, arXiv 1402.3392). Plain pointers and status codes; nothing is read or written past its bounds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tuples.h"

namespace thin {

constexpr unsigned kMaxRansBits = 15;
constexpr unsigned kMaxRansLanes = 8;

enum class RansStatus { ok, bad_frequencies, too_short, bad_end };

// A slot's symbol, its frequency, and how far into the symbol's range the slot lies.
struct RansTable {
  uint64_t entries[1u << kMaxRansBits];
  unsigned bits;
};

struct RansStream {
  const uint8_t* data;  // states, then words
  size_t nbytes;
  unsigned lanes;
  size_t symbols;
};

// `frequencies` must add up to 2**bits: bad_frequencies otherwise.
RansStatus rans_table(const uint32_t* frequencies, size_t alphabet, unsigned bits, RansTable* table);

// Decodes stream.symbols symbols to `out` and tells how many bytes they took.
RansStatus rans_symbols(const RansTable& table, const RansStream& stream, uint16_t* out, size_t* used);

// As above, but each symbol is a tuple: writes symbols * p elements.
RansStatus rans_tuples(const RansTable& table, const RansStream& stream, unsigned p, const TupleExpander& expander, uint8_t* out, size_t* used);

// Encodes `count` symbols, each with a frequency that is not 0, into the last bytes of out[0 … rans_room(count, lanes)).
// Returns how many bytes they are; 0 if a symbol has no frequency.
size_t rans_encode(const uint16_t* symbols, size_t count, const uint32_t* frequencies, size_t alphabet, unsigned bits, unsigned lanes, uint8_t* out);

constexpr size_t rans_room(size_t count, unsigned lanes) { return 4 * lanes + 2 * count; }

}  // namespace thin
