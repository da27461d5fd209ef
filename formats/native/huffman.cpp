#include "huffman.h"

#include <cstring>

namespace thin {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "lanes are loaded as little-endian words");

uint64_t load(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

unsigned reversed(unsigned code, unsigned length) {
  unsigned out = 0;
  for (unsigned i = 0; i < length; ++i) out |= (code >> i & 1) << (length - 1 - i);
  return out;
}

// One lane: its bytes and the next bit. Past the end it reads zeros; whoever uses it compares the position afterwards.
struct Lane {
  const uint8_t* data;
  size_t nbytes;
  size_t bit;

  uint64_t careful_window() const {
    size_t first = bit >> 3;
    if (first >= nbytes) return 0;
    uint64_t word = 0;
    std::memcpy(&word, data + first, nbytes - first < 8 ? nbytes - first : 8);
    return word >> (bit & 7);
  }

  // How many times `step` bits can be taken by whole 8-byte loads.
  size_t safe_rounds(size_t step) const {
    size_t limit = nbytes * 8;
    return limit < bit + 64 ? 0 : (limit - bit - 64) / step + 1;
  }

  HuffmanStatus check_end() const {
    if (bit > nbytes * 8) return HuffmanStatus::lane_too_short;
    if ((bit + 7) / 8 != nbytes || (bit % 8 && data[nbytes - 1] >> bit % 8)) return HuffmanStatus::lane_too_long;
    return HuffmanStatus::ok;
  }
};

// Decodes `rounds` * kPerLoad symbols of each lane. The lanes' chains are independent, so they overlap in the pipeline.
template <unsigned kLanes, unsigned kPerLoad, typename Symbol>
inline __attribute__((always_inline)) void each_round(const uint16_t* entries, uint64_t mask, Lane* lanes, size_t rounds, Symbol* out) {
  const uint8_t* data[kLanes];
  size_t bit[kLanes];
  for (unsigned l = 0; l < kLanes; ++l) data[l] = lanes[l].data, bit[l] = lanes[l].bit;
  constexpr unsigned kGroup = kLanes < 4 ? kLanes : 4;  // what is in flight of more lanes would not fit the registers
  for (size_t r = 0; r < rounds; ++r, out += kLanes * kPerLoad) {
    for (unsigned first = 0; first < kLanes; first += kGroup) {
      uint64_t window[kGroup];
      unsigned taken[kGroup] = {};
      for (unsigned l = 0; l < kGroup; ++l) window[l] = load(data[first + l] + (bit[first + l] >> 3)) >> (bit[first + l] & 7);
      for (unsigned k = 0; k < kPerLoad; ++k) {
        for (unsigned l = 0; l < kGroup; ++l) {
          const unsigned entry = entries[window[l] & mask];
          window[l] >>= entry & 15;
          taken[l] += entry & 15;
          out[k * kLanes + first + l] = static_cast<Symbol>(entry >> 4);
        }
      }
      for (unsigned l = 0; l < kGroup; ++l) bit[first + l] += taken[l];
    }
  }
  for (unsigned l = 0; l < kLanes; ++l) lanes[l].bit = bit[l];
}

#if defined(__x86_64__)
const bool kHasBmi2 = __builtin_cpu_supports("bmi2");

// Shifts by what lies in any register, and without touching flags, are one instruction there instead of three.
template <unsigned kLanes, unsigned kPerLoad, typename Symbol>
__attribute__((target("bmi2"))) void each_round_bmi2(const uint16_t* entries, uint64_t mask, Lane* lanes, size_t rounds, Symbol* out) {
  each_round<kLanes, kPerLoad>(entries, mask, lanes, rounds, out);
}
#endif

template <unsigned kLanes, unsigned kPerLoad, typename Symbol>
void decode_rounds(const uint16_t* entries, uint64_t mask, Lane* lanes, size_t rounds, Symbol* out) {
#if defined(__x86_64__)
  if (kHasBmi2) return each_round_bmi2<kLanes, kPerLoad>(entries, mask, lanes, rounds, out);
#endif
  each_round<kLanes, kPerLoad>(entries, mask, lanes, rounds, out);
}

template <unsigned kLanes>
class Decoder {
 public:
  Decoder(const HuffmanTable& table, const HuffmanStream& stream) : table_(table), mask_((uint64_t{1} << table.bits) - 1) {
    const uint8_t* at = stream.payload;
    for (unsigned l = 0; l < kLanes; ++l) {
      lanes_[l] = {at, stream.lane_bytes[l], 0};
      at += stream.lane_bytes[l];
    }
  }

  // The next `count` symbols; a multiple of the lanes except in the last call.
  template <typename Symbol>
  void decode(size_t count, Symbol* out) {
    size_t done = table_.bits <= 11 ? fast<5>(count, out) : table_.bits <= 14 ? fast<4>(count, out) : fast<3>(count, out);
    for (unsigned l = 0; done < count; ++done, l = (l + 1) % kLanes) {
      unsigned entry = table_.entries[lanes_[l].careful_window() & mask_];
      lanes_[l].bit += entry & 15;
      out[done] = static_cast<Symbol>(entry >> 4);
    }
  }

  HuffmanStatus check_end() const {
    for (const Lane& lane : lanes_) {
      HuffmanStatus status = lane.check_end();
      if (status != HuffmanStatus::ok) return status;
    }
    return HuffmanStatus::ok;
  }

 private:
  // After a load 57 bits are certain, which is kPerLoad codes. Returns how many symbols were decoded.
  template <unsigned kPerLoad, typename Symbol>
  size_t fast(size_t count, Symbol* out) {
    size_t done = 0;
    while (true) {
      size_t rounds = (count - done) / (kLanes * kPerLoad);
      for (const Lane& lane : lanes_) {
        size_t safe = lane.safe_rounds(kPerLoad * table_.bits);
        if (safe < rounds) rounds = safe;
      }
      if (rounds == 0) return done;
      decode_rounds<kLanes, kPerLoad>(table_.entries, mask_, lanes_, rounds, out + done);
      done += rounds * kLanes * kPerLoad;
    }
  }

  const HuffmanTable& table_;
  uint64_t mask_;
  Lane lanes_[kLanes];
};

template <unsigned kLanes>
HuffmanStatus symbols_of(const HuffmanTable& table, const HuffmanStream& stream, uint16_t* out) {
  Decoder<kLanes> decoder(table, stream);
  decoder.decode(stream.symbols, out);
  return decoder.check_end();
}

template <unsigned kLanes>
HuffmanStatus tuples_of(const HuffmanTable& table, const HuffmanStream& stream, unsigned p, const TupleExpander& expander, uint8_t* out) {
  constexpr size_t kBlock = 4096;  // 8 KiB of symbols stay in the first-level cache until they are expanded
  uint16_t block[kBlock];
  Decoder<kLanes> decoder(table, stream);
  if (p == 1) {  // elements themselves
    decoder.decode(stream.symbols, out);
    return decoder.check_end();
  }
  for (size_t done = 0; done < stream.symbols; done += kBlock) {
    size_t count = stream.symbols - done < kBlock ? stream.symbols - done : kBlock;
    decoder.decode(count, block);
    expander.expand(block, count, out + done * p);
  }
  return decoder.check_end();
}

}  // namespace

size_t huffman_lengths(const uint8_t* data, size_t nbytes, size_t alphabet, uint8_t* lengths) {
  constexpr unsigned kMany = 1u << 30;  // more than any list may hold
  size_t at = 0, limit = nbytes * 8;
  bool good = true;
  auto bit = [&]() -> unsigned {
    if (at >= limit) return good = false, 0u;
    const unsigned found = data[at >> 3] >> (at & 7) & 1;
    ++at;
    return found;
  };
  auto bits = [&](unsigned count) {
    unsigned found = 0;
    for (unsigned i = 0; i < count; ++i) found |= bit() << i;
    return found;
  };
  auto ones = [&](unsigned most) {
    unsigned count = 0;
    while (good && bit()) {
      if (++count > most) return good = false, kMany;
    }
    return count;
  };
  unsigned highest = 1;
  while (highest < kMaxCodeLength && (alphabet - 1) >> highest) ++highest;
  std::memset(lengths, 0, alphabet);
  const unsigned k = bits(2);
  int previous = static_cast<int>(highest);
  int64_t room = 1 << kMaxCodeLength;
  size_t symbol = 0, used = 0;
  while (good && symbol < alphabet && room > 0) {
    const unsigned high = ones(2 * kMaxCodeLength);
    if (!good) break;
    const unsigned value = high << k | bits(k);
    if (value == 0) {
      const unsigned size = ones(kMaxCodeLength);
      if (!good) break;
      const size_t run = size_t{1} << size | bits(size);
      good = good && run <= alphabet - symbol;
      symbol += run;
      continue;
    }
    const int zigzag = static_cast<int>(value - 1);
    previous += (zigzag & 1) ? -(zigzag + 1) / 2 : zigzag / 2;
    if (previous < 1 || previous > static_cast<int>(kMaxCodeLength)) good = false;
    if (!good) break;
    lengths[symbol++] = static_cast<uint8_t>(previous);
    room -= (1 << kMaxCodeLength) >> previous;
    ++used;
  }
  const bool lone = used == 1 && room == 1 << (kMaxCodeLength - 1);
  if (!good || (room != 0 && !lone) || (at % 8 && data[at >> 3] >> at % 8)) return 0;
  return (at + 7) / 8;
}

HuffmanStatus huffman_table(const uint8_t* lengths, size_t alphabet, HuffmanTable* table) {
  unsigned counts[kMaxCodeLength + 1] = {}, next[kMaxCodeLength + 2] = {};
  if (alphabet > kMaxAlphabet) return HuffmanStatus::bad_code;
  table->bits = 0;
  for (size_t s = 0; s < alphabet; ++s) {
    if (lengths[s] > kMaxCodeLength) return HuffmanStatus::bad_code;
    ++counts[lengths[s]];
    if (lengths[s] > table->bits) table->bits = lengths[s];
  }
  uint32_t filled = 0;
  for (unsigned length = 1; length <= kMaxCodeLength; ++length) {
    next[length + 1] = (next[length] + counts[length]) << 1;
    filled += counts[length] << (kMaxCodeLength - length);
  }
  if (filled != 1u << kMaxCodeLength) return HuffmanStatus::bad_code;
  for (size_t s = 0; s < alphabet; ++s) {
    unsigned length = lengths[s];
    if (length == 0) continue;
    uint16_t entry = static_cast<uint16_t>(s << 4 | length);
    for (uint32_t at = reversed(next[length]++, length); at < 1u << table->bits; at += 1u << length) table->entries[at] = entry;
  }
  return HuffmanStatus::ok;
}

HuffmanStatus huffman_symbols(const HuffmanTable& table, const HuffmanStream& stream, uint16_t* out) {
  switch (stream.lanes) {
    case 1: return symbols_of<1>(table, stream, out);
    case 2: return symbols_of<2>(table, stream, out);
    case 4: return symbols_of<4>(table, stream, out);
    case 8: return symbols_of<8>(table, stream, out);
    default: return HuffmanStatus::bad_code;
  }
}

HuffmanStatus huffman_tuples(const HuffmanTable& table, const HuffmanStream& stream, unsigned p, const TupleExpander& expander, uint8_t* out) {
  switch (stream.lanes) {
    case 1: return tuples_of<1>(table, stream, p, expander, out);
    case 2: return tuples_of<2>(table, stream, p, expander, out);
    case 4: return tuples_of<4>(table, stream, p, expander, out);
    case 8: return tuples_of<8>(table, stream, p, expander, out);
    default: return HuffmanStatus::bad_code;
  }
}

}  // namespace thin
