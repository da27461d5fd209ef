#include "rans.h"

#include <cstring>
#include <vector>

namespace thin {
namespace {

constexpr uint32_t kLow = 1u << 16;  // a state lies in kLow … 2**32 - 1

uint64_t entry_of(size_t symbol, uint32_t frequency, uint32_t place) { return uint64_t{symbol} << 32 | frequency << 16 | place; }

template <unsigned kLanes>
class Decoder {
 public:
  Decoder(const RansTable& table, const RansStream& stream) : table_(table), at_(stream.data), end_(stream.data + stream.nbytes) {}

  bool start() {
    if (static_cast<size_t>(end_ - at_) < 4 * kLanes) return false;
    for (unsigned l = 0; l < kLanes; ++l, at_ += 4) {
      std::memcpy(&states_[l], at_, 4);
      if (states_[l] < kLow) return false;
    }
    return true;
  }

  // The next `count` symbols; a multiple of the lanes except in the last call. False if the words end before.
  bool decode(size_t count, uint16_t* out) {
    uint32_t states[kLanes];
    std::memcpy(states, states_, sizeof states);
    const uint8_t* at = at_;
    const uint64_t* entries = table_.entries;
    const unsigned bits = table_.bits;
    const uint32_t mask = (1u << bits) - 1;
    size_t done = 0;
    while (true) {
      size_t rounds = (count - done) / kLanes, safe = static_cast<size_t>(end_ - at) / (2 * kLanes);
      if (safe < rounds) rounds = safe;
      if (rounds == 0) break;
      for (size_t r = 0; r < rounds; ++r) {
        for (unsigned l = 0; l < kLanes; ++l) {
          uint32_t x = states[l];
          uint64_t entry = entries[x & mask];
          *out++ = static_cast<uint16_t>(entry >> 32);
          x = (static_cast<uint32_t>(entry) >> 16) * (x >> bits) + (static_cast<uint32_t>(entry) & 0xffff);
          uint16_t word;
          std::memcpy(&word, at, 2);
          bool is_low = x < kLow;
          states[l] = is_low ? x << 16 | word : x;
          at += is_low ? 2 : 0;
        }
      }
      done += rounds * kLanes;
    }
    for (unsigned l = 0; done < count; ++done, l = (l + 1) % kLanes) {
      uint32_t x = states[l];
      uint64_t entry = entries[x & mask];
      *out++ = static_cast<uint16_t>(entry >> 32);
      x = (static_cast<uint32_t>(entry) >> 16) * (x >> bits) + (static_cast<uint32_t>(entry) & 0xffff);
      if (x < kLow) {
        if (end_ - at < 2) return false;
        uint16_t word;
        std::memcpy(&word, at, 2);
        x = x << 16 | word;
        at += 2;
      }
      states[l] = x;
    }
    std::memcpy(states_, states, sizeof states);
    at_ = at;
    return true;
  }

  bool is_at_end() const {
    for (uint32_t state : states_) {
      if (state != kLow) return false;
    }
    return true;
  }

  const uint8_t* at() const { return at_; }

 private:
  const RansTable& table_;
  const uint8_t* at_;
  const uint8_t* end_;
  uint32_t states_[kLanes];
};

// Calls `take(symbols, how many, how many before)` for one block of symbols after the other.
template <unsigned kLanes, typename Take>
RansStatus decode_blocks(const RansTable& table, const RansStream& stream, size_t* used, Take take) {
  constexpr size_t kBlock = 4096;  // 8 KiB of symbols stay in the first-level cache until they are taken
  uint16_t block[kBlock];
  Decoder<kLanes> decoder(table, stream);
  if (!decoder.start()) return RansStatus::too_short;
  for (size_t done = 0; done < stream.symbols; done += kBlock) {
    size_t count = stream.symbols - done < kBlock ? stream.symbols - done : kBlock;
    if (!decoder.decode(count, block)) return RansStatus::too_short;
    take(block, count, done);
  }
  *used = static_cast<size_t>(decoder.at() - stream.data);
  return decoder.is_at_end() ? RansStatus::ok : RansStatus::bad_end;
}

template <typename Take>
RansStatus decode_lanes(const RansTable& table, const RansStream& stream, size_t* used, Take take) {
  switch (stream.lanes) {
    case 1: return decode_blocks<1>(table, stream, used, take);
    case 2: return decode_blocks<2>(table, stream, used, take);
    case 4: return decode_blocks<4>(table, stream, used, take);
    case 8: return decode_blocks<8>(table, stream, used, take);
    default: return RansStatus::bad_frequencies;
  }
}

}  // namespace

RansStatus rans_table(const uint32_t* frequencies, size_t alphabet, unsigned bits, RansTable* table) {
  if (alphabet > kMaxAlphabet || bits > kMaxRansBits) return RansStatus::bad_frequencies;
  const size_t total = size_t{1} << bits;
  size_t slot = 0;
  for (size_t s = 0; s < alphabet; ++s) {
    if (frequencies[s] > total - slot) return RansStatus::bad_frequencies;
    for (uint32_t place = 0; place < frequencies[s]; ++place) table->entries[slot++] = entry_of(s, frequencies[s], place);
  }
  table->bits = bits;
  return slot == total ? RansStatus::ok : RansStatus::bad_frequencies;
}

RansStatus rans_symbols(const RansTable& table, const RansStream& stream, uint16_t* out, size_t* used) {
  return decode_lanes(table, stream, used, [out](const uint16_t* symbols, size_t count, size_t before) {
    std::memcpy(out + before, symbols, count * sizeof *symbols);
  });
}

RansStatus rans_tuples(const RansTable& table, const RansStream& stream, unsigned p, const TupleExpander& expander, uint8_t* out, size_t* used) {
  return decode_lanes(table, stream, used, [&](const uint16_t* symbols, size_t count, size_t before) {
    expander.expand(symbols, count, out + before * p);
  });
}

size_t rans_encode(const uint16_t* symbols, size_t count, const uint32_t* frequencies, size_t alphabet, unsigned bits, unsigned lanes,
                   uint8_t* out) {
  std::vector<uint32_t> starts(alphabet + 1, 0);
  for (size_t s = 0; s < alphabet; ++s) starts[s + 1] = starts[s] + frequencies[s];
  uint32_t states[kMaxRansLanes];
  for (unsigned l = 0; l < lanes; ++l) states[l] = kLow;
  uint8_t* const end = out + rans_room(count, lanes);
  uint8_t* at = end;
  for (size_t i = count; i-- > 0;) {
    if (symbols[i] >= alphabet || frequencies[symbols[i]] == 0) return 0;
    uint32_t& state = states[i % lanes];
    const uint32_t frequency = frequencies[symbols[i]];
    if (state >= uint64_t{frequency} << (32 - bits)) {
      uint16_t word = static_cast<uint16_t>(state);
      at -= 2;
      std::memcpy(at, &word, 2);
      state >>= 16;
    }
    state = (state / frequency << bits) + state % frequency + starts[symbols[i]];
  }
  for (unsigned l = lanes; l-- > 0;) {
    at -= 4;
    std::memcpy(at, &states[l], 4);
  }
  return static_cast<size_t>(end - at);
}

}  // namespace thin
