// Tuples of a stream (formats/SPEC.md, "Streams"): a symbol is p elements of `width` bits, the first in the lowest bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace thin {

constexpr unsigned kMaxTupleBits = 12;
constexpr size_t kMaxAlphabet = size_t{1} << kMaxTupleBits;

// Expands blocks of symbols into elements of one byte each. p * width must be 1 to kMaxTupleBits.
class TupleExpander {
 public:
  TupleExpander(unsigned p, unsigned width) : p_(p), width_(width) {
    for (unsigned s = 0; s < 1u << (p * width); ++s) spread_[s] = bytes_of(s);
  }

  static bool fits(unsigned p, unsigned width) { return p > 0 && width > 0 && width <= kMaxTupleBits && p <= kMaxTupleBits / width; }

  // Writes count * p elements; words of eight bytes overlap, so the last ones are written byte by byte.
  void expand(const uint16_t* symbols, size_t count, uint8_t* out) const {
    unsigned low = p_ < 8 ? p_ : 8, shift = low * width_, mask = (1u << shift) - 1;
    size_t wordwise = count > 16 ? count - 16 : 0, i = 0;
    if (p_ == 1) {
      for (; i < count; ++i) out[i] = static_cast<uint8_t>(symbols[i]);
      return;
    }
    if (p_ <= 8) {
      for (; i < wordwise; ++i, out += p_) std::memcpy(out, &spread_[symbols[i]], 8);
    } else {
      for (; i < wordwise; ++i, out += p_) {
        std::memcpy(out, &spread_[symbols[i] & mask], 8);
        std::memcpy(out + 8, &spread_[symbols[i] >> shift], 8);
      }
    }
    for (; i < count; ++i, out += p_) {
      for (unsigned k = 0; k < p_; ++k) out[k] = static_cast<uint8_t>(symbols[i] >> (k * width_) & ((1u << width_) - 1));
    }
  }

 private:
  uint64_t bytes_of(unsigned symbol) const {
    uint64_t out = 0;
    for (unsigned i = 0; i < p_ && i < 8; ++i) out |= uint64_t{symbol >> (i * width_) & ((1u << width_) - 1)} << (8 * i);
    return out;
  }

  unsigned p_, width_;
  uint64_t spread_[kMaxAlphabet];
};

}  // namespace thin
