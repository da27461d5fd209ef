// Streams of a .thin file (formats/SPEC.md, "Streams"), packed or coded by Huffman, with their transforms. stream_reader.py is the reference:
// what is not read here, for whatever reason, is read there, and what is wrong with it said there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tuples.h"

namespace thin {

constexpr size_t kStreamRoom = kMaxTupleBits - 1;  // elements of a last tuple that goes on after the stream's own

enum class Coder { raw, huffman, rans };

struct StreamShape {
  size_t count;       // elements
  unsigned alphabet;  // which are below this
  unsigned width;     // bits of one, 1 to 8
};

// Reads the stream at the front of data[0 … nbytes) into out[0 … count), and tells how many bytes it took. A last tuple may be written into the
// kStreamRoom elements behind. False: it is coded by rANS, or something is wrong with it. `may_split`: it may be split in two.
bool read_stream(const uint8_t* data, size_t nbytes, Coder coder, const StreamShape& shape, bool may_split, uint8_t* out, size_t* used);

}  // namespace thin
