// Adaptive binary arithmetic coder of a .thin file (formats/SPEC.md, "Arithmetic"). formats/arithmetic.py is the same in Python, step by
// step; both work in integers and give the same bytes. Nothing is read past the bytes given; memory is a table of contexts and a column each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace thin {

// What is coded, and by which contexts.
struct ArithmeticStream {
  unsigned alphabet;  // 1 to 256
  unsigned width;     // bits of an element, 1 to 8
  unsigned contexts;  // kNear | kAlong | kColumn | kDistance | kSteady
  size_t count;
  size_t row;               // elements of a row; 0: there are no columns
  const uint32_t* columns;  // of each element, below `row`; null: element i lies in column i % row
};

constexpr unsigned kNear = 1, kAlong = 2, kColumn = 4, kDistance = 8, kSteady = 16;

// The digits of a fraction, base 256, and how many bytes of the last eight-byte window must be kept.
struct ArithmeticCode {
  std::vector<uint8_t> bytes;
  unsigned kept;
};

// `stream.count` elements, each below 2**width.
ArithmeticCode arithmetic_encode(const ArithmeticStream& stream, const uint8_t* elements);

// Decodes stream.count elements and tells how many bytes they took, of which 8 - kept are not theirs. Digits past the end of `data` are zeros;
// false if more than eight of them were needed, or if the first eight digits are more than any encoder gives.
bool arithmetic_decode(const ArithmeticStream& stream, const uint8_t* data, size_t nbytes, uint8_t* elements, size_t* used);

}  // namespace thin
