// Weights of any structure and values, one row per lane, decoded a unit of 64 columns × 16 rows at a time (see README.md for the bytes).
//
// Two steps, each with few cases: `Unit` puts a symbol (or a plain float) into every lane of every column, ABSENT where none is held;
// `values` turns symbols into floats. They meet in 4 KB that stay in the first-level cache.
#pragma once

#include "decode.h"

namespace {

constexpr int UNIT = 64;

// The first bytes of such a packed weight. Sections that a weight does not have are at 0.
enum TileField {
  T_STRUCTURE, T_VALUES, T_BITS,
  T_COLUMNS, T_TAPS,                  // K, in the tensor's order: channel · taps + tap
  T_HELD_AT, T_HELD_BYTES,            // symbols or floats; of a panel, where panels are alike
  T_STARTS_AT,                        // int64[panels * units + 1], masks: where a unit's symbols begin, in eights (floats: in floats)
  T_MASK_AT, T_MASK_BYTES,            // of a panel
  T_BLOCK_ROWS, T_BLOCK_COLUMNS,      // rows and columns that share a bit of the mask
  T_PLACES_AT, T_PLACES_BYTES, T_N, T_M,
  T_TABLES_AT, T_LANES_AT,
  T_SCALE_AT, T_SCALE_PANEL, T_RUN,   // float[panels][runs][16]; floats of a panel, 0: float[runs] for all rows; columns of a run
  T_ZEROS_AT, T_ZERO,                 // uint8, as the scales; or the one zero point
};
enum TileStructure { T_DENSE, T_MASKED, T_WINDOWED };
enum TileValues { T_FLOATS, T_HALVES, T_SYMBOLS, T_CODES };

// What the decoded tile holds where nothing is held: zero, or a NaN that no packed weight has, for those who must tell them apart.
constexpr int32_t NOTHING = 0, MARK = 0x7fa5a5a5;

// Symbols of all lanes, one after the other, from words that hold 32 / bits of them (lowest bits first).
struct Words {
  const int32_t* word;
  int bits, per, j;
  Words(const char* words, int bits_, int64_t at)
      : word((const int32_t*)words + at / (32 / bits_) * PANEL), bits(bits_), per(32 / bits_), j((int)(at % per)) {}
  vi read(int v) const { return (loadi(word + v * VL) >> (bits * j)) & (int32_t)((1u << bits) - 1); }
  void next() {
    if (++j == per) j = 0, word += PANEL;
  }
};

// Eight symbols of `bits` bits, which begin at a byte.
inline void eight(const uint8_t* from, int bits, int32_t* to) {
  uint64_t word;
  __builtin_memcpy(&word, from, sizeof word);
#if defined(__AVX512F__)
  const __m512i shifts = _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(bits));
  const __m512i spread = _mm512_and_si512(_mm512_srlv_epi64(_mm512_set1_epi64((int64_t)word), shifts), _mm512_set1_epi64((1 << bits) - 1));
  _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi64_epi32(spread));
#else
  for (int j = 0; j < 8; j++) to[j] = (int32_t)(word >> (bits * j)) & ((1 << bits) - 1);
#endif
}

struct Unit {
  const char* base;
  const int64_t* h;  // TileField
  int64_t panel, unit;
  alignas(64) int32_t lanes[UNIT * PANEL];  // [column][row]: symbols, or the bits of floats

  explicit Unit(const char* packed) : base(packed), h((const int64_t*)packed), panel(0), unit(0) {}

  bool plain() const { return h[T_VALUES] < T_SYMBOLS; }
  int64_t columns() const { return h[T_COLUMNS] - unit * UNIT < UNIT ? h[T_COLUMNS] - unit * UNIT : UNIT; }

  void fetch(int64_t panel_, int64_t unit_, int32_t absent) {
    panel = panel_, unit = unit_;
    if (h[T_STRUCTURE] == T_DENSE) return dense();
    if (h[T_STRUCTURE] == T_MASKED) return masked(absent);
    const vi none = vi{} + absent;
    for (int64_t f = 0; f < columns(); f++)
      for (int v = 0; v < NV; v++) write(f, v, none);
    windowed();
  }

  const char* held() const { return base + h[T_HELD_AT] + panel * h[T_HELD_BYTES]; }

  void dense() {
    const Words first(held(), (int)h[T_BITS], unit * UNIT);
    const int32_t* word = first.word;
    const int32_t mask = (int32_t)((1u << first.bits) - 1);
    const int64_t n = columns();
    for (int64_t f = 0, j = first.j; f < n; word += PANEL, j = 0) {
      const int64_t end = f + first.per - j < n ? f + first.per - j : n;
      for (int v = 0; v < NV; v++) {
        vi x = loadi(word + v * VL) >> (int)(first.bits * j);
        for (int64_t i = f; i < end; i++, x >>= first.bits) write(i, v, x & mask);
      }
      f = end;
    }
  }

  void write(int64_t column, int v, vi x) { __builtin_memcpy(lanes + column * PANEL + v * VL, &x, sizeof x); }

  // Slot s of a row: its place in the window, and what is held there. Each row has as many.
  void windowed() {
    const int64_t n = h[T_N], m = h[T_M], first = unit * (UNIT / m * n);
    Words places(base + h[T_PLACES_AT] + panel * h[T_PLACES_BYTES], __builtin_ctz((unsigned)m), first);
    if (h[T_VALUES] == T_FLOATS) return windows(places, [&](int64_t i, int v) { return loadi((const float*)held() + (first + i) * PANEL + v * VL); });
    if (h[T_VALUES] == T_HALVES) return windows(places, [&](int64_t i, int v) { return (vi)load_half((const uint16_t*)held() + (first + i) * PANEL, v); });
    Words symbols(held(), (int)h[T_BITS], first);
    windows(places, [&](int64_t, int v) {
      const vi x = symbols.read(v);
      if (v == NV - 1) symbols.next();
      return x;
    });
  }

  template <class Read>
  void windows(Words places, Read read) {
    int64_t i = 0;
    for (int64_t at = 0; at < columns(); at += h[T_M]) {
      const int64_t left = columns() - at, count = left < h[T_N] ? left : h[T_N];
      for (int64_t s = 0; s < count; s++, i++, places.next())
        for (int v = 0; v < NV; v++) scatter(lanes + at * PANEL + v * VL, places.read(v), read(i, v));
    }
  }

  static void scatter(int32_t* to, vi place, vi x) {
#if defined(__AVX512F__)
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    _mm512_i32scatter_epi32(to, _mm512_add_epi32(_mm512_slli_epi32((__m512i)place, 4), lane), (__m512i)x, 4);
#else
    for (int lane = 0; lane < VL; lane++) to[place[lane] * PANEL + lane] = x[lane];
#endif
  }

  // What is held lies in the order of columns, then rows; a mask of 16 bits says for each column which rows have something.
  void masked(int32_t absent) {
    alignas(64) int32_t unpacked[UNIT * PANEL + 2 * PANEL];
    const int32_t* next = unpack(unpacked);
    if (h[T_BLOCK_ROWS] == 1) h[T_BLOCK_COLUMNS] == 1 ? spread<1, false>(next, absent) : spread<4, false>(next, absent);
    else h[T_BLOCK_COLUMNS] == 1 ? spread<1, true>(next, absent) : spread<4, true>(next, absent);
  }

  // WIDTH columns share a mask, and of FOURS rows four share a bit.
  template <int WIDTH, bool FOURS>
  void spread(const int32_t* next, int32_t absent) {
    static const uint16_t fours[16] = {0x0000, 0x000f, 0x00f0, 0x00ff, 0x0f00, 0x0f0f, 0x0ff0, 0x0fff,
                                       0xf000, 0xf00f, 0xf0f0, 0xf0ff, 0xff00, 0xff0f, 0xfff0, 0xffff};
    const uint8_t* mask = (const uint8_t*)base + h[T_MASK_AT] + panel * h[T_MASK_BYTES];
    const unsigned n = (unsigned)columns();
    mask += unit * (UNIT / WIDTH) * (FOURS ? 4 : 16) / 8;
    int32_t* to = lanes;
    for (unsigned block = 0; block * WIDTH < n; block++) {
      const unsigned rows = FOURS ? fours[mask[block / 2] >> (4 * (block % 2)) & 15u] : mask[2 * block] | (unsigned)mask[2 * block + 1] << 8;
      for (int i = 0; i < WIDTH; i++, to += PANEL) next = expand(rows, next, absent, to);  // past the last column: never looked at
    }
  }

  static const int32_t* expand(unsigned rows, const int32_t* from, int32_t absent, int32_t* to) {
#if defined(__AVX512F__)
    _mm512_store_si512(to, _mm512_mask_expand_epi32(_mm512_set1_epi32(absent), (__mmask16)rows, _mm512_loadu_si512(from)));
    return from + __builtin_popcount(rows);
#else
    for (int i = 0; i < PANEL; i++) to[i] = absent;
    for (; rows; rows &= rows - 1) to[__builtin_ctz(rows)] = *from++;
    return from;
#endif
  }

  const int32_t* unpack(int32_t* to) const {
    const int64_t* start = (const int64_t*)(base + h[T_STARTS_AT]) + panel * ((h[T_COLUMNS] + UNIT - 1) / UNIT) + unit;
    const char* from = base + h[T_HELD_AT];
    if (h[T_VALUES] == T_FLOATS) return (const int32_t*)from + start[0];
    if (h[T_VALUES] == T_HALVES) {
      for (int64_t i = start[0], j = 0; i < start[1]; i += PANEL, j += PANEL)
        for (int v = 0; v < NV; v++) store((float*)to + j + v * VL, load_half((const uint16_t*)from + i, v));
      return to;
    }
    const int bits = (int)h[T_BITS];
    for (int64_t i = start[0], j = 0; i < start[1]; i++, j += 8) eight((const uint8_t*)from + i * bits, bits, to + j);
    return to;
  }
};

// Symbols of a table, 16 entries or more.
template <int BITS>
struct TableOf {
  Table<BITS> table;
  TableOf(const Unit& u, int) : table((const float*)(u.base + u.h[T_TABLES_AT]), nullptr, 0) {}
  vf operator()(vi x) const { return table(x); }
};
struct OwnTable {
  LaneTable<8> table;
  OwnTable(const Unit& u, int v)
      : table((const float*)(u.base + u.h[T_TABLES_AT]), (const int32_t*)(u.base + u.h[T_LANES_AT]) + u.panel * PANEL, v) {}
  vf operator()(vi x) const { return table(x); }
};
struct Code {
  Code(const Unit&, int) {}
  vf operator()(vi x) const { return __builtin_convertvector(x, vf); }
};

// Where a column of the tensor goes: the tile holds the columns of one tap side by side, as patches do.
struct Order {
  int64_t taps, apart, channel, tap;
  Order(const int64_t* h, int64_t k0, int64_t n, int64_t from)
      : taps(h[T_TAPS]), apart(n / taps), channel((from - k0) / taps), tap(from % taps) {}
  int64_t next() {
    const int64_t row = tap * apart + channel;
    if (++tap == taps) tap = 0, channel++;
    return row;
  }
};

// Of a run of columns: what the rows of vector v of the panel are scaled with, and their zero points.
inline vf scale_of(const Unit& u, int64_t run, int v) {
  const float* scales = (const float*)(u.base + u.h[T_SCALE_AT]);
  return u.h[T_SCALE_PANEL] ? load(scales + u.panel * u.h[T_SCALE_PANEL] + run * PANEL + v * VL) : splat(scales[run]);
}
inline vf zeros_of(const Unit& u, int64_t run, int v) {
  const uint8_t* zeros = (const uint8_t*)u.base + u.h[T_ZEROS_AT];
  if (!u.h[T_SCALE_PANEL]) return splat(zeros[run]);
  vi zero;
  for (int i = 0; i < VL; i++) zero[i] = zeros[u.panel * u.h[T_SCALE_PANEL] + run * PANEL + v * VL + i];
  return __builtin_convertvector(zero, vf);
}

// Columns [from, to) of the tensor, which lie in the unit, to their rows of out.
template <class Lookup, int32_t ABSENT, bool DENSE>
void values(const Unit& u, const Order& order, int64_t from, int64_t to, float* out) {
  const int64_t* h = u.h;
  const bool has_scale = h[T_SCALE_AT], has_zeros = h[T_ZEROS_AT];
  const int64_t run = h[T_RUN];
  for (int v = 0; v < NV; v++) {
    const Lookup lookup(u, v);
    vf scale = splat(1.0f), zero = splat((float)h[T_ZERO]);
    Order row = order;
    for (int64_t f = from, next; f < to; f = next) {
      const int64_t which = f / run;
      next = (which + 1) * run < to ? (which + 1) * run : to;
      if (has_scale) scale = scale_of(u, which, v);
      if (has_zeros) zero = zeros_of(u, which, v);
      const int32_t* symbols = u.lanes + (f - u.unit * UNIT) * PANEL + v * VL;
      const auto one = [&](int64_t i) {
        const vi x = loadi(symbols + i * PANEL), absent = x >> 31;
        if (DENSE) return (lookup(x) - zero) * scale;
        const vi y = (vi)((lookup(x & ~absent) - zero) * scale);
        return (vf)((y & ~absent) | (absent & ABSENT));
      };
      if (row.taps == 1) {
        float* to_row = out + row.channel * PANEL + v * VL;
        for (int64_t i = 0; i < next - f; i++) store(to_row + i * PANEL, one(i));
        row.channel += next - f;
      } else {
        for (int64_t i = 0; i < next - f; i++) store(out + row.next() * PANEL + v * VL, one(i));
      }
    }
  }
}

template <int32_t ABSENT, bool DENSE>
void choose_values(const Unit& u, const Order& order, int64_t from, int64_t to, float* out) {
  if (u.h[T_VALUES] == T_CODES) return values<Code, ABSENT, DENSE>(u, order, from, to, out);
  if (u.h[T_LANES_AT]) return values<OwnTable, ABSENT, DENSE>(u, order, from, to, out);
  switch (u.h[T_BITS]) {
    case 8: return values<TableOf<8>, ABSENT, DENSE>(u, order, from, to, out);
    case 7: return values<TableOf<7>, ABSENT, DENSE>(u, order, from, to, out);
    case 6: return values<TableOf<6>, ABSENT, DENSE>(u, order, from, to, out);
    case 5: return values<TableOf<5>, ABSENT, DENSE>(u, order, from, to, out);
    default: return values<TableOf<4>, ABSENT, DENSE>(u, order, from, to, out);
  }
}

// Columns [k0, k0 + n) of a panel, whole channels where there are taps, to out[n][16].
template <int32_t ABSENT>
void decode_tiles(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out) {
  Unit u(w.base);
  for (int64_t at = k0; at < k0 + n;) {
    const int64_t unit = at / UNIT, end = (unit + 1) * UNIT < k0 + n ? (unit + 1) * UNIT : k0 + n;
    Order order(u.h, k0, n, at);
    u.fetch(panel, unit, u.plain() ? ABSENT : -1);
    if (u.plain()) {
      for (; at < end; at++) {
        const int64_t row = order.next();
        for (int v = 0; v < PANEL; v += VL) {
          const vi x = loadi(u.lanes + (at - unit * UNIT) * PANEL + v);
          store(out + row * PANEL + v, (vf)x);
        }
      }
    } else if (u.h[T_STRUCTURE] == T_DENSE) {
      choose_values<NOTHING, true>(u, order, at, end, out);
    } else {
      choose_values<ABSENT, false>(u, order, at, end, out);
    }
    at = end;
  }
}

// Whether none of the floats is infinite or NaN: then what is absent may be multiplied as zero.
inline bool all_finite(const float* x, int64_t n) {
  int32_t found = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    found |= (bits & 0x7f800000) == 0x7f800000;
  }
  return !found;
}

// Whether a decoded weight is none.
inline bool is_absent(float w) {
  int32_t bits;
  __builtin_memcpy(&bits, &w, sizeof bits);
  return bits == MARK;
}

inline bool has_absent(const Packed& w) { return ((const int64_t*)w.base)[T_STRUCTURE] != T_DENSE; }

}  // namespace
