#include "streams.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "huffman.h"
#include "tuples.h"

namespace thin {
namespace {

enum Kind { SINGLE, TUPLE, RUN, SPLIT };

constexpr uint64_t MAX_RUN = 4095;

// What is left of the blob; every method is false at its end, or where it finds what may not be.
struct Front {
  const uint8_t* data;
  size_t left;

  bool byte(unsigned* found) {
    if (!left) return false;
    *found = *data;
    return skip(1);
  }

  bool skip(size_t count) {
    if (count > left) return false;
    data += count;
    left -= count;
    return true;
  }

  // A varint below 2^56, which lengths are, in as few bytes as it can be.
  bool varint(uint64_t* found) {
    *found = 0;
    for (unsigned shift = 0, next; shift < 56; shift += 7) {
      if (!byte(&next)) return false;
      *found |= uint64_t{next & 127} << shift;
      if (next < 128) return next || !shift;
    }
    return false;
  }
};

struct Symbols {
  Kind kind;
  size_t count;
  unsigned alphabet, width, parameter;  // p of tuples, R of runs
};

unsigned width_of(unsigned alphabet) {
  unsigned bits = 1;
  while ((alphabet - 1) >> bits) bits++;
  return bits;
}

bool symbols_of(Front* front, Kind kind, const StreamShape& shape, bool is_coded, Symbols* found) {
  *found = {kind, shape.count, shape.alphabet, shape.width, 1};
  if (kind == TUPLE) {
    if (!is_coded || !front->byte(&found->parameter) || found->parameter < 2 || !TupleExpander::fits(found->parameter, shape.width)) return false;
    found->alphabet = 1u << (found->parameter * shape.width);
    found->count = (shape.count + found->parameter - 1) / found->parameter;
  } else if (kind == RUN) {
    uint64_t longest, count;
    if (shape.alphabet != 2 || !front->varint(&longest) || longest < 1 || longest > MAX_RUN || !front->varint(&count)) return false;
    if (count > shape.count || count * longest < shape.count) return false;
    *found = {kind, static_cast<size_t>(count), static_cast<unsigned>(longest) + 1, width_of(static_cast<unsigned>(longest) + 1),
              static_cast<unsigned>(longest)};
  }
  return found->count <= 8 * front->left;
}

// Symbols of some bits each, side by side.
template <typename T>
bool unpack(Front* front, const Symbols& symbols, T* out) {
  const size_t bits = symbols.count * symbols.width, nbytes = (bits + 7) / 8;
  const uint8_t* data = front->data;
  if (!front->skip(nbytes) || (bits % 8 && data[nbytes - 1] >> bits % 8)) return false;
  uint32_t held = 0;
  unsigned there = 0;
  for (size_t i = 0; i < symbols.count; i++) {
    for (; there < symbols.width; there += 8) held |= uint32_t{*data++} << there;
    out[i] = static_cast<T>(held & ((1u << symbols.width) - 1));
    held >>= symbols.width;
    there -= symbols.width;
    if (out[i] >= symbols.alphabet) return false;
  }
  return true;
}

// `decode(table, stream)` does it, once all around the code is found right. Codes of one symbol are left to the reference.
template <typename Decode>
bool huffman(Front* front, const Symbols& symbols, unsigned lanes, Decode decode) {
  uint8_t lengths[kMaxAlphabet];
  if (symbols.alphabet > kMaxAlphabet) return false;
  const size_t taken = huffman_lengths(front->data, front->left, symbols.alphabet, lengths);
  size_t sizes[kMaxLanes], total = 0;
  if (!taken || !front->skip(taken)) return false;
  for (unsigned lane = 0; lane < lanes; lane++) {
    uint64_t size;
    if (!front->varint(&size) || total > front->left || size > front->left - total) return false;  // no sum of theirs wraps
    total += sizes[lane] = static_cast<size_t>(size);
  }
  const HuffmanStream stream{front->data, sizes, lanes, symbols.count};
  if (!front->skip(total) || symbols.count > 8 * total) return false;
  auto table = std::make_unique<HuffmanTable>();
  return huffman_table(lengths, symbols.alphabet, table.get()) == HuffmanStatus::ok && decode(*table, stream) == HuffmanStatus::ok;
}

// r below R stands for r dominant elements and then another one, R for R dominant ones; a last R may reach past the end.
bool spread_runs(const std::vector<uint16_t>& runs, unsigned longest, uint8_t dominant, size_t count, uint8_t* out) {
  std::fill(out, out + count, dominant);
  size_t at = 0;
  for (size_t i = 0; i < runs.size(); i++) {
    at += runs[i];
    const bool ends = runs[i] < longest;
    if (at + ends > count) return !ends && i + 1 == runs.size() && at - runs[i] < count;
    if (ends) out[at++] = 1 - dominant;
  }
  return at == count;
}

bool read_runs(Front* front, const Symbols& symbols, bool is_coded, unsigned lanes, uint8_t dominant, size_t count, uint8_t* out) {
  std::vector<uint16_t> runs(symbols.count);
  const bool read = is_coded ? huffman(front, symbols, lanes, [&](const HuffmanTable& table, const HuffmanStream& stream) {
    return huffman_symbols(table, stream, runs.data());
  }) : unpack(front, symbols, runs.data());
  return read && spread_runs(runs, symbols.parameter, dominant, count, out);
}

// Whether all elements are below the alphabet: looked at without a way out in between, so that compilers take 16 at a time.
bool all_below(const uint8_t* elements, size_t count, const StreamShape& shape) {
  if (shape.alphabet == 1u << shape.width) return true;
  uint8_t most = 0;
  for (size_t i = 0; i < count; i++) most = std::max(most, elements[i]);
  return most < shape.alphabet;
}

bool read_coded(Front* front, const Symbols& symbols, unsigned lanes, const StreamShape& shape, uint8_t* out) {
  auto expander = std::make_unique<TupleExpander>(symbols.parameter, shape.width);
  if (!huffman(front, symbols, lanes, [&](const HuffmanTable& table, const HuffmanStream& stream) {
        return huffman_tuples(table, stream, symbols.parameter, *expander, out);
      }))
    return false;
  return std::all_of(out + shape.count, out + symbols.count * symbols.parameter, [](uint8_t more) { return more == 0; }) &&
         all_below(out, shape.count, shape);
}

bool read_split(Front front, Coder coder, const StreamShape& shape, uint8_t* out, size_t* used) {
  unsigned dominant;
  const size_t before = front.left;
  if (shape.alphabet <= 2 || coder == Coder::raw || !front.byte(&dominant) || dominant >= shape.alphabet) return false;
  size_t taken;
  if (!read_stream(front.data, front.left, coder, {shape.count, 2, 1}, false, out, &taken) || !front.skip(taken)) return false;
  const size_t many = static_cast<size_t>(std::count(out, out + shape.count, 1));
  std::vector<uint8_t> others(many + kStreamRoom);
  if (!read_stream(front.data, front.left, coder, {many, shape.alphabet - 1, width_of(shape.alphabet - 1)}, false, others.data(), &taken) ||
      !front.skip(taken))
    return false;
  const uint8_t* next = others.data();
  for (size_t i = 0; i < shape.count; i++) {
    if (!out[i]) {
      out[i] = static_cast<uint8_t>(dominant);
    } else {
      out[i] = static_cast<uint8_t>(*next + (*next >= dominant));
      next++;
    }
  }
  *used = before - front.left;
  return true;
}

}  // namespace

bool read_stream(const uint8_t* data, size_t nbytes, Coder coder, const StreamShape& shape, bool may_split, uint8_t* out, size_t* used) {
  *used = 0;
  if (!shape.count) return true;
  Front front{data, nbytes};
  unsigned code;
  if (!front.byte(&code)) return false;
  const Kind kind = static_cast<Kind>(code & 3);
  const bool is_coded = code & 4;
  const unsigned lanes = 1u << (code >> 3 & 3), dominant = code >> 5;
  if (dominant > 1 || (dominant && kind != RUN) || (lanes > 1 && !is_coded) || (kind == SPLIT && is_coded)) return false;
  if (is_coded && coder != Coder::huffman) return false;
  if (kind == SPLIT) {
    if (!may_split || !read_split(front, coder, shape, out, used)) return false;
    ++*used;
    return true;
  }
  Symbols symbols;
  if (!symbols_of(&front, kind, shape, is_coded, &symbols)) return false;
  const bool read = kind == RUN ? read_runs(&front, symbols, is_coded, lanes, static_cast<uint8_t>(dominant), shape.count, out)
                    : is_coded  ? read_coded(&front, symbols, lanes, shape, out)
                                : unpack(&front, symbols, out);
  *used = nbytes - front.left;
  return read;
}

}  // namespace thin
