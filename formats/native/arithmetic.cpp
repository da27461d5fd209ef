#include "arithmetic.h"

#include <cstdlib>
#include <cstring>
#include <memory>

namespace thin {
namespace {

constexpr unsigned kBits = 22;             // of a probability that adapts
constexpr unsigned kLevels = 6;            // of an activity, compared with the mean
constexpr unsigned kContextDepth = 5;      // decisions of an element that see its neighbours
constexpr unsigned kNeighbourhoods = 4 * kLevels * kLevels;
constexpr unsigned kNodes = 1u << kContextDepth;
constexpr uint64_t kLow = uint64_t{1} << 32;  // the range lies in kLow … 2**64 - 1

struct Rates {
  uint32_t fast[2048], slow[2048];  // by the number of decisions seen
  uint32_t limit;

  explicit Rates(bool steady) {
    const unsigned fast_shift = steady ? 7 : 5, slow_shift = steady ? 11 : 9;
    limit = (1u << slow_shift) - 1;
    for (uint32_t n = 0; n <= limit; ++n) {
      uint32_t learning = 131072 / (2 * n + 3), least = 65536u >> fast_shift, least_slow = 65536u >> slow_shift;
      fast[n] = learning > least ? learning : least;
      slow[n] = learning > least_slow ? learning : least_slow;
    }
  }
};

// Two estimates of how likely a 1 is, in units of 2**-22, and the number of decisions they have seen.
struct Estimate {
  int32_t fast = 1 << (kBits - 1), slow = 1 << (kBits - 1);
  uint32_t seen = 0;

  uint64_t of_one() const {
    int32_t p = (fast + slow) >> (kBits + 1 - 16);
    return static_cast<uint64_t>(p < 16 ? 16 : p > 65520 ? 65520 : p);
  }

  void learn(const Rates& rates, unsigned bit) {
    const int64_t target = static_cast<int64_t>(bit) << kBits;
    fast += static_cast<int32_t>(((target - fast) * static_cast<int64_t>(rates.fast[seen])) >> 16);
    slow += static_cast<int32_t>(((target - slow) * static_cast<int64_t>(rates.slow[seen])) >> 16);
    seen += seen < rates.limit;
  }
};

// Averages of the elements around, and the context that they make.
class Neighbours {
 public:
  explicit Neighbours(const ArithmeticStream& stream)
      : stream_(stream), activities_(new int32_t[256]), columns_((stream.contexts & kColumn) && stream.row ? stream.row : 0, kUnseen) {
    for (int x = 0; x < 256; ++x) {
      activities_[x] = (stream.contexts & kDistance ? std::abs(2 * x - static_cast<int>(stream.alphabet - 1)) : x) << 16;
    }
  }

  // The number of the context, of the next element, number `i`.
  unsigned context(size_t i) {
    unsigned found = 0;
    if (stream_.contexts & kNear) found = near_;
    found *= kLevels;
    if (stream_.contexts & kAlong) found += level(along_);
    found *= kLevels;
    if (!columns_.empty()) {
      if (stream_.columns) column_ = stream_.columns[i];
      found += columns_[column_] == kUnseen ? 2 : level(columns_[column_]);
    }
    return found;
  }

  void learn(size_t i, unsigned element) {
    const int64_t activity = activities_[element];
    near_ = (near_ << 1 | (activity > mean_)) & 3;
    along_ += (activity - along_) >> 5;
    while (shift_ < 12 && i >> shift_) ++shift_;
    mean_ += (activity - mean_) >> shift_;
    if (columns_.empty()) return;
    int64_t before = columns_[column_] == kUnseen ? mean_ : columns_[column_];
    columns_[column_] = static_cast<int32_t>(before + ((activity - before) >> 5));
    if (!stream_.columns && ++column_ == stream_.row) column_ = 0;
  }

 private:
  static constexpr int32_t kUnseen = -1;

  unsigned level(int64_t value) const {
    return (4 * value > mean_) + (2 * value > mean_) + (value > mean_) + (value > 2 * mean_) + (value > 4 * mean_);
  }

  const ArithmeticStream& stream_;
  std::unique_ptr<int32_t[]> activities_;
  std::vector<int32_t> columns_;
  size_t column_ = 0;
  unsigned near_ = 0, shift_ = 1;
  int64_t along_ = 0, mean_ = 0;
};

// Walks over all elements. `decide(probability of a 1, number of the element, place of the bit)` gives each decision, and
// `decide.finish(number of the element, its bits)` the element.
template <typename Decide>
void walk(const ArithmeticStream& stream, Decide decide) {
  const Rates rates(stream.contexts & kSteady);
  std::vector<Estimate> estimates(kNeighbourhoods * kNodes + 256);
  Estimate* const deep = estimates.data() + kNeighbourhoods * kNodes;
  Neighbours neighbours(stream);
  for (size_t i = 0; i < stream.count; ++i) {
    Estimate* const shallow = estimates.data() + neighbours.context(i) * kNodes;
    unsigned node = 1;
    for (unsigned place = stream.width; place-- > 0;) {
      Estimate& estimate = node < kNodes ? shallow[node] : deep[node];
      unsigned bit = decide(estimate.of_one(), i, place);
      estimate.learn(rates, bit);
      node = node << 1 | bit;
    }
    neighbours.learn(i, decide.finish(i, node & ((1u << stream.width) - 1)));
  }
}

class Encoder {
 public:
  Encoder(const uint8_t* elements, std::vector<uint8_t>* out) : elements_(elements), out_(out) {}

  unsigned operator()(uint64_t of_one, size_t i, unsigned place) {
    const unsigned bit = elements_[i] >> place & 1;
    const uint64_t bound = (range_ >> 16) * of_one;
    if (bit) {
      range_ = bound;
    } else {
      add(bound);
      range_ -= bound;
    }
    if (range_ < kLow) {
      for (unsigned shift = 56; shift >= 32; shift -= 8) out_->push_back(static_cast<uint8_t>(low_ >> shift));
      low_ <<= 32;
      range_ <<= 32;
    }
    return bit;
  }

  unsigned finish(size_t, unsigned element) const { return element; }

  // The fewest digits after which any others may follow; returns how many they are.
  unsigned flush() {
    for (unsigned kept = 1;; ++kept) {
      const uint64_t tail = ~uint64_t{0} >> (8 * kept);
      const uint64_t rest = (low_ + tail) & ~tail;  // of low, rounded up; wraps around where it is a carry
      if (rest - low_ > range_ - 1 || range_ - 1 - (rest - low_) < tail) continue;
      add(rest - low_);
      for (unsigned k = 0; k < kept; ++k) out_->push_back(static_cast<uint8_t>(low_ >> (56 - 8 * k)));
      return kept;
    }
  }

 private:
  void add(uint64_t amount) {
    low_ += amount;
    if (low_ >= amount) return;
    for (size_t k = out_->size(); ++(*out_)[--k] == 0;) {
    }
  }

  const uint8_t* elements_;
  std::vector<uint8_t>* out_;
  uint64_t low_ = 0, range_ = ~uint64_t{0};
};

class Decoder {
 public:
  Decoder(const uint8_t* data, size_t nbytes, uint8_t* elements) : data_(data), nbytes_(nbytes), elements_(elements) {
    value_ = static_cast<uint64_t>(digits()) << 32;
    value_ |= digits();
  }

  unsigned operator()(uint64_t of_one, size_t, unsigned) {
    const uint64_t bound = (range_ >> 16) * of_one;
    const unsigned bit = value_ < bound;
    value_ -= bit ? 0 : bound;
    range_ = bit ? bound : range_ - bound;
    if (range_ < kLow) {
      value_ = value_ << 32 | digits();
      range_ <<= 32;
    }
    return bit;
  }

  unsigned finish(size_t i, unsigned element) {
    elements_[i] = static_cast<uint8_t>(element);
    return element;
  }

  // No encoder gives this, since the first range is one less.
  bool is_outside() const { return value_ == ~uint64_t{0}; }

  size_t used() const { return at_; }

 private:
  uint32_t digits() {
    uint32_t found = 0;
    if (at_ + 4 <= nbytes_) {
      for (unsigned k = 0; k < 4; ++k) found = found << 8 | data_[at_ + k];
    } else {
      for (unsigned k = 0; k < 4; ++k) found = found << 8 | (at_ + k < nbytes_ ? data_[at_ + k] : 0);
    }
    at_ += 4;
    return found;
  }

  const uint8_t* data_;
  size_t nbytes_;
  uint8_t* elements_;
  size_t at_ = 0;
  uint64_t value_ = 0, range_ = ~uint64_t{0};
};

}  // namespace

ArithmeticCode arithmetic_encode(const ArithmeticStream& stream, const uint8_t* elements) {
  ArithmeticCode code{{}, 0};
  Encoder encoder(elements, &code.bytes);
  walk<Encoder&>(stream, encoder);
  code.kept = encoder.flush();
  return code;
}

bool arithmetic_decode(const ArithmeticStream& stream, const uint8_t* data, size_t nbytes, uint8_t* elements, size_t* used) {
  Decoder decoder(data, nbytes, elements);
  if (decoder.is_outside()) return false;
  walk<Decoder&>(stream, decoder);
  *used = decoder.used();
  return *used <= nbytes + 8;
}

}  // namespace thin
