// Depthwise convolution of codes: one int8 filter per channel, channels in lanes, four taps of a row of the filter at a time.
//
// A band of input rows is copied into scratch with its padding, as codes of the sign that dot wants, one plane per phase of the stride.
// There an output row is one flat run of bytes: what a tap reads of it lies a whole number of pixels further on.
#include "finish.h"

namespace {

constexpr int64_t CHUNK = 4 * VL;  // outputs at a time
constexpr int PARTS = VL / 4;      // 16-byte parts of a vector

enum Param {
  C, H, WIDTH, OH, OW,  // channels, input and output
  KH, KW, SH, SW, PH, PW, DH, DW,
  BAND,    // output rows of a work item
  SIGNED,  // codes of x are int8
  PAD,     // the code of zero
  STRIDE,  // of the table
  FINISH
};

struct Layer {
  const ThinCall* call;
  const int64_t* p = call->p;
  int64_t quads = (p[KW] + 3) / 4;
  int64_t phases = p[SW];
  int64_t pixels = (p[OW] - 1) + ((p[KW] - 1) * p[DW]) / p[SW] + 1;  // of a phase
  int64_t phase_bytes = ((pixels * p[C] + CHUNK + 63) / 64 | 1) * 64;  // an odd number of cache lines, so that rows lie in different sets
  int64_t row_bytes = phases * phase_bytes;
  int64_t blocks = (p[C] + 15) / 16 + 3;  // of 16 channels in the weights and the table, the first ones again at the end
  int32_t flip = flip_of(p[SIGNED]);
  const Table table = Table(call->buf[2], p[STRIDE]);
};

inline void copy_flipped(int8_t* to, const int8_t* from, int64_t n, int32_t flip) {
  int64_t i = 0;
  for (; i + CHUNK <= n; i += CHUNK) storei(to + i, loadi(from + i) ^ flip);
  if (i == n) return;
  if (n >= CHUNK) {  // the last ones with some that are there already
    storei(to + n - CHUNK, loadi(from + n - CHUNK) ^ flip);
    return;
  }
  for (; i + 16 <= n; i += 16) {
    int32_t words[4];
    __builtin_memcpy(words, from + i, 16);
    for (int j = 0; j < 4; j++) words[j] ^= flip;
    __builtin_memcpy(to + i, words, 16);
  }
  for (; i + 4 <= n; i += 4) {
    const int32_t word = load_word(from + i) ^ flip;
    __builtin_memcpy(to + i, &word, 4);
  }
  for (; i < n; i++) to[i] = (int8_t)(from[i] ^ (int8_t)flip);
}

// A row of the image (or none) into the phases at `to`.
inline void copy_row(const Layer& l, const int8_t* row, int8_t* to, int8_t pad) {
  const int64_t* p = l.p;
  const int64_t padded = l.pixels * p[SW];
  if (!row) {
    __builtin_memset(to, pad, (size_t)l.row_bytes);
    return;
  }
  if (p[SW] == 1) {
    const int64_t end = p[PW] + p[WIDTH] < padded ? p[PW] + p[WIDTH] : padded;
    __builtin_memset(to, pad, (size_t)(p[PW] * p[C]));
    if (end > p[PW]) copy_flipped(to + p[PW] * p[C], row, (end - p[PW]) * p[C], l.flip);
    if (end < padded) __builtin_memset(to + end * p[C], pad, (size_t)((padded - end) * p[C]));
    return;
  }
  for (int64_t u = 0; u < padded; u++) {
    int8_t* at = to + u % p[SW] * l.phase_bytes + u / p[SW] * p[C];
    const int64_t ix = u - p[PW];
    if (ix >= 0 && ix < p[WIDTH]) copy_flipped(at, row + ix * p[C], p[C], l.flip);
    else __builtin_memset(at, pad, (size_t)p[C]);
  }
}

inline vi zip(vi a, vi b, bool upper, bool wide) {
#if defined(__AVX512F__)
  const __m512i x = (__m512i)a, y = (__m512i)b;
  return (vi)(wide ? (upper ? _mm512_unpackhi_epi16(x, y) : _mm512_unpacklo_epi16(x, y)) : (upper ? _mm512_unpackhi_epi8(x, y) : _mm512_unpacklo_epi8(x, y)));
#elif defined(__AVX2__)
  const __m256i x = (__m256i)a, y = (__m256i)b;
  return (vi)(wide ? (upper ? _mm256_unpackhi_epi16(x, y) : _mm256_unpacklo_epi16(x, y)) : (upper ? _mm256_unpackhi_epi8(x, y) : _mm256_unpacklo_epi8(x, y)));
#elif defined(__SSE2__)
  const __m128i x = (__m128i)a, y = (__m128i)b;
  return (vi)(wide ? (upper ? _mm_unpackhi_epi16(x, y) : _mm_unpacklo_epi16(x, y)) : (upper ? _mm_unpackhi_epi8(x, y) : _mm_unpacklo_epi8(x, y)));
#elif defined(__ARM_NEON)
  if (wide) {
    const int16x8x2_t pairs = vzipq_s16((int16x8_t)a, (int16x8_t)b);
    return (vi)pairs.val[upper];
  }
  const int8x16x2_t bytes = vzipq_s8((int8x16_t)a, (int8x16_t)b);
  return (vi)bytes.val[upper];
#else
  const int size = wide ? 2 : 1;
  int8_t from[2][16], to[16];
  storei(from[0], a);
  storei(from[1], b);
  for (int i = 0; i < 16; i++) to[i] = from[i / size % 2][(upper ? 8 : 0) + i / (2 * size) * size + i % size];
  return loadi(to);
#endif
}

// The four bytes of each lane: what four taps see of one channel. Part i of vector j has channels 16 i + 4 j and three more.
[[gnu::always_inline]] inline void interleave(vi a, vi b, vi c, vi d, X (&x)[4]) {
  const vi ab = zip(a, b, false, false), AB = zip(a, b, true, false), cd = zip(c, d, false, false), CD = zip(c, d, true, false);
  x[0] = unsigned_words(zip(ab, cd, false, true));
  x[1] = unsigned_words(zip(ab, cd, true, true));
  x[2] = unsigned_words(zip(AB, CD, false, true));
  x[3] = unsigned_words(zip(AB, CD, true, true));
}

// Some outputs that lie together in a row: `at` bytes from its start, their channels from 16 * block on, at most CHUNK of them.
struct Chunk {
  int64_t at, block, n;
};

// Calls f with every chunk of an output row.
template <typename F>
[[gnu::always_inline]] inline void each_chunk(const Layer& l, F f) {
  const int64_t channels = l.p[C], width = l.p[OW] * channels;
  const bool is_flat = channels % 16 == 0;  // then a chunk may go on in the next pixel
  for (int64_t at = 0, channel = 0; at < width;) {
    const int64_t left = is_flat ? width - at : channels - channel, n = left < CHUNK ? left : CHUNK;
    f(Chunk{at, channel / 16, n});
    at += n;
    channel += n;
    while (channel >= channels) channel -= channels;
  }
}

inline int64_t place_of_tap(const Layer& l, int64_t tap) {
  const int64_t u = tap * l.p[DW];
  return u % l.p[SW] * l.phase_bytes + u / l.p[SW] * l.p[C];
}

// The chunk of an output row whose first input row lies at `rows`: any filter, every end, step by step.
[[gnu::noinline]] void chunk_exactly(const Layer& l, const Finish& f, const int8_t* rows, int64_t row, const Chunk& chunk) {
  const int64_t* p = l.p;
  const int64_t part = l.blocks * 16;
  const int32_t zero = (f.flags & DYNAMIC_ZERO) ? CODE_SHIFT - (int32_t)f.zeros[row / f.p[F_GROUP_ROWS]] : 1;
  int64_t taps_at[16];
  for (int64_t t = 0; t < 4 * l.quads; t++) taps_at[t] = place_of_tap(l, t < p[KW] ? t : 0);
  vi sums[4];
  for (int j = 0; j < 4; j++) sums[j] = loadi(l.table.start + (j * l.blocks + chunk.block) * 4) * zero;
  const int8_t* w = (const int8_t*)l.call->buf[1] + chunk.block * 16;
  for (int64_t h = 0; h < p[KH]; h++) {
    const int8_t* x = rows + h * p[DH] * l.row_bytes + chunk.at;
    for (int64_t q = 0; q < l.quads; q++, w += 4 * part) {
      const int64_t* to = taps_at + 4 * q;
      X taps[4];
      interleave(loadi(x + to[0]), loadi(x + to[1]), loadi(x + to[2]), loadi(x + to[3]), taps);
      for (int j = 0; j < 4; j++) sums[j] = dot(sums[j], taps[j], signed_words(loadi(w + j * part)));
    }
  }
  int32_t ordered[CHUNK];
  for (int j = 0; j < 4; j++) {
    int32_t lanes[VL];
    storei(lanes, sums[j]);
    for (int i = 0; i < PARTS; i++) __builtin_memcpy(ordered + 16 * i + 4 * j, lanes + 4 * i, 16);
  }
  f.exactly(ordered, 0, 1, l.table, chunk.block * 16, row, chunk.at, chunk.n);
}

constexpr int64_t MOST_ROWS = 64;

// At most MOST_ROWS output rows of one chunk of a filter of 3 × 3, the quick way: weights stay in registers and each row is interleaved once. Bit o of
// the result: row o lies near a tie. Nothing is called here, as that would send all registers to memory.
template <int STRIDE>
[[gnu::noinline]] uint64_t chunk_quickly(const Layer& l, const Quick quick, const int8_t* x, int8_t* to, int64_t count, const Chunk chunk) {
  const int64_t t1 = place_of_tap(l, 1), t2 = place_of_tap(l, 2), step = l.row_bytes, part = l.blocks * 16, floats = part / 4, n = chunk.n;
  const int8_t* own = (const int8_t*)l.call->buf[1] + chunk.block * 16;
  const float *m = l.table.quick_m + chunk.block * 4, *bias = l.table.quick_bias + chunk.block * 4;
  const int32_t* start = l.table.start + chunk.block * 4;
  uint64_t near = 0;
  W w[3][4];
#pragma GCC unroll 3
  for (int h = 0; h < 3; h++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) w[h][j] = signed_words(loadi(own + (4 * h + j) * part));
  X taps[4];
  vi now[4], next[4];
  const auto read = [&]() __attribute__((always_inline)) {
    const vi a = loadi(x);
    interleave(a, loadi(x + t1), loadi(x + t2), a, taps);
    x += step;
  };
#define THIN_ADD(sums, from, h) _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sums[j] = dot(from, taps[j], w[h][j])
  read();
  THIN_ADD(now, loadi(start + j * floats), 0);
  if (STRIDE == 1) {
    read();
    THIN_ADD(now, now[j], 1);
    THIN_ADD(next, loadi(start + j * floats), 0);
  }
  for (int64_t o = 0; o < count; o++) {
    if (STRIDE == 2) {
      read();
      THIN_ADD(now, now[j], 1);
    }
    read();
    THIN_ADD(now, now[j], 2);
    vf q[4], distance = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) q[j] = __builtin_convertvector(now[j], vf) * load(m + j * floats) + load(bias + j * floats);
    const vi bytes = quick.bytes_of(q[0], q[1], q[2], q[3], distance);
    if (__builtin_expect(n == CHUNK, 1)) storei(to, bytes);
    else store_bytes(to, bytes, n);
    to += quick.ld;
    near |= (uint64_t)quick.is_near(distance) << o;
    if (STRIDE == 1) {
      THIN_ADD(now, next[j], 1);
      THIN_ADD(next, loadi(start + j * floats), 0);
    } else {
      THIN_ADD(now, loadi(start + j * floats), 0);
    }
  }
#undef THIN_ADD
  return near;
}

// `count` output rows from `row` on, the first of whose input rows lies at `rows`.
void output_rows(const Layer& l, const Finish& f, const int8_t* rows, int64_t row, int64_t count) {
  const int64_t* p = l.p;
  const bool is_usual = p[KH] == 3 && p[KW] == 3 && p[DH] == 1 && (p[SH] == 1 || p[SH] == 2) && count <= MOST_ROWS && f.is_quick();
  each_chunk(l, [&](const Chunk& chunk) {
    uint64_t left = ~0ull;
    if (is_usual) {
      int8_t* to = f.codes + row * f.ld + chunk.at;
      left = p[SH] == 1 ? chunk_quickly<1>(l, f.quick, rows + chunk.at, to, count, chunk) : chunk_quickly<2>(l, f.quick, rows + chunk.at, to, count, chunk);
    }
    for (int64_t o = 0; o < count && left; o++)
      if (left >> (o & 63) & 1) chunk_exactly(l, f, rows + o * p[SH] * l.row_bytes, row + o, chunk);
  });
}

}  // namespace

// buf: x, weights, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param. An item is a band of output rows of an image.
THIN_KERNEL(depthwise_i8) {
  const int64_t* p = call->p;
  const Layer l = {call};
  const Finish f = {p + FINISH, (float*)call->buf[3], (int8_t*)call->buf[4], (const float*)call->buf[5], (const float*)call->buf[6],
                    (const uint8_t*)call->buf[7], p[OW] * p[C]};
  const int64_t bands = (p[OH] + p[BAND] - 1) / p[BAND];
  for (int64_t item = begin; item < end; item++) {
    const int64_t image = item / bands, first = item % bands * p[BAND], last = first + p[BAND] < p[OH] ? first + p[BAND] : p[OH];
    const int8_t* x = (const int8_t*)call->buf[0] + image * p[H] * p[WIDTH] * p[C];
    int8_t* scratch = (int8_t*)call->scratch;
    const bool own = f.flags & DYNAMIC_ZERO;
    const int8_t pad = (int8_t)((own ? (int8_t)f.zeros[image * p[OH] / f.p[F_GROUP_ROWS]] : (int8_t)p[PAD]) ^ (int8_t)l.flip);
    const int64_t needed = (last - first - 1) * p[SH] + (p[KH] - 1) * p[DH] + 1;
    for (int64_t r = 0; r < needed; r++) {
      const int64_t iy = first * p[SH] - p[PH] + r;
      copy_row(l, iy >= 0 && iy < p[H] ? x + iy * p[WIDTH] * p[C] : nullptr, scratch + r * l.row_bytes, pad);
    }
    output_rows(l, f, scratch, image * p[OH] + first, last - first);
  }
}
