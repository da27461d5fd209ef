// Depthwise convolution of codes: one int8 filter per channel, channels in lanes, four taps of a row of the filter at a time.
//
// A band of input rows is copied into scratch with its padding, as codes of the sign that dot wants, one plane per phase of the stride.
// There an output row is one flat run of bytes: what a tap reads of it lies a whole number of pixels further on.
#include "finish.h"
#include "quick_neon.h"

namespace {

constexpr int64_t CHUNK = 4 * VL;  // outputs at a time
constexpr int MOST_TAPS = 16;      // of a row of the filter

enum Param {
  C, H, WIDTH, OH, OW,  // channels, input and output
  KH, KW, SH, SW, PH, PW, DH, DW,
  BAND,    // output rows of a work item
  SIGNED,  // codes of x are int8
  PAD,     // the code of zero
  PERIOD,  // channels after which weights and table begin again: C, or a multiple of it and of CHUNK
  STRIDE,  // of the table
  ROOM,    // where in scratch there is room for the codes of a band; 0: nowhere
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
  int64_t vectors = p[KH] * quads * 4;  // of a chunk's weights
  int32_t flip = flip_of(p[SIGNED]);
  const Table table = Table(call->buf[2], p[STRIDE]);
  int64_t taps_at[MOST_TAPS];  // where they lie in a row; those that are not there at the first one

  explicit Layer(const ThinCall* c) : call(c) {
    for (int64_t t = 0; t < 4 * quads; t++) taps_at[t] = t < p[KW] ? place_of_tap(t) : taps_at[0];
  }
  int64_t place_of_tap(int64_t tap) const {
    const int64_t u = tap * p[DW];
    return u % p[SW] * phase_bytes + u / p[SW] * p[C];
  }
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

// n bytes, and some more: what lies behind them in a phase is written later.
inline void fill(int8_t* to, int64_t n, int8_t pad) {
  const vi word = splati((uint8_t)pad * 0x01010101);
  for (int64_t i = 0; i < n; i += CHUNK) storei(to + i, word);
}

// As many 16 bytes as hold n.
inline void copy_beyond(int8_t* to, const int8_t* from, int64_t n, int32_t flip) {
  for (int64_t i = 0; i < n; i += 16) {
    int32_t words[4];
    __builtin_memcpy(words, from + i, 16);
    for (int j = 0; j < 4; j++) words[j] ^= flip;
    __builtin_memcpy(to + i, words, 16);
  }
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
    fill(to, p[PW] * p[C], pad);
    if (end > p[PW]) copy_flipped(to + p[PW] * p[C], row, (end - p[PW]) * p[C], l.flip);
    fill(to + end * p[C], (padded - end) * p[C], pad);
    return;
  }
  const int64_t copied = (p[C] + 15) / 16 * 16;
  const int64_t whole = p[C] < CHUNK ? p[WIDTH] - (copied + p[C] - 1) / p[C] : -1;  // pixels up to this one may be copied by 16 bytes at a time
  for (int64_t u = 0, phase = 0; u < padded; u++, phase++) {
    if (phase == p[SW]) {
      phase = 0;
      to += p[C];
    }
    int8_t* at = to + phase * l.phase_bytes;
    const int64_t ix = u - p[PW];
    if (ix < 0 || ix >= p[WIDTH]) fill(at, p[C], pad);
    else if (ix <= whole) copy_beyond(at, row + ix * p[C], p[C], l.flip);
    else copy_flipped(at, row + ix * p[C], p[C], l.flip);
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

// Some outputs that lie together in a row: `at` bytes from its start, n of them, at most CHUNK; their weights are the index-th ones.
struct Chunk {
  int64_t at, index, n;
};

// Calls f with every chunk of an output row.
template <typename F>
[[gnu::always_inline]] inline void each_chunk(const Layer& l, F f) {
  const int64_t channels = l.p[PERIOD], width = l.p[OW] * l.p[C];
  const bool is_flat = channels % CHUNK == 0;  // then a chunk may go on in the next pixel
  for (int64_t at = 0, channel = 0; at < width;) {
    const int64_t left = is_flat ? width - at : channels - channel, n = left < CHUNK ? left : CHUNK;
    f(Chunk{at, channel / CHUNK, n});
    at += n;
    channel += n;
    if (channel >= channels) channel -= channels;
  }
}

// The sums of a chunk in the order of its outputs.
[[gnu::always_inline]] inline void ordered(const vi (&sums)[4], vi (&to)[4]) {
#if defined(__AVX512F__)
  const __m512i a = (__m512i)sums[0], b = (__m512i)sums[1], c = (__m512i)sums[2], d = (__m512i)sums[3];
  const __m512i ab = _mm512_maskz_shuffle_i32x4(0xffff, a, b, 0x88), AB = _mm512_maskz_shuffle_i32x4(0xffff, a, b, 0xdd);
  const __m512i cd = _mm512_maskz_shuffle_i32x4(0xffff, c, d, 0x88), CD = _mm512_maskz_shuffle_i32x4(0xffff, c, d, 0xdd);
  to[0] = (vi)_mm512_maskz_shuffle_i32x4(0xffff, ab, cd, 0x88);
  to[1] = (vi)_mm512_maskz_shuffle_i32x4(0xffff, AB, CD, 0x88);
  to[2] = (vi)_mm512_maskz_shuffle_i32x4(0xffff, ab, cd, 0xdd);
  to[3] = (vi)_mm512_maskz_shuffle_i32x4(0xffff, AB, CD, 0xdd);
#elif defined(__AVX2__)
  to[0] = (vi)_mm256_permute2x128_si256((__m256i)sums[0], (__m256i)sums[1], 0x20);
  to[1] = (vi)_mm256_permute2x128_si256((__m256i)sums[2], (__m256i)sums[3], 0x20);
  to[2] = (vi)_mm256_permute2x128_si256((__m256i)sums[0], (__m256i)sums[1], 0x31);
  to[3] = (vi)_mm256_permute2x128_si256((__m256i)sums[2], (__m256i)sums[3], 0x31);
#else
  for (int j = 0; j < 4; j++) to[j] = sums[j];
#endif
}

// What becomes of the sums of row o of a chunk. Taken by value, as `Quick`.

#if defined(__aarch64__)
struct ToCodes {
  QuickNeon quick;
  int8_t* to;
  vf m[4], bias[4];
  int64_t n;
  bool begun;  // sums begin with SUM_BITS
  uint64_t near = 0;

  ToCodes(const Layer& l, const Finish& f, int64_t row, const Chunk& chunk)
      : quick(f), to(f.codes + row * f.ld + chunk.at), n(chunk.n), begun(f.flags & SMALL) {
    for (int j = 0; j < 4; j++) {
      m[j] = load(l.table.quick_m + chunk.index * CHUNK + j * VL);
      bias[j] = load(l.table.quick_bias + chunk.index * CHUNK + j * VL) + quick.offset;
    }
  }
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) {
    vf value[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) value[j] = begun ? (vf)sums[j] - splat(MAGIC) : __builtin_convertvector(sums[j], vf);
    uint16x8_t least = quick.far();
    const vi bytes = quick.bytes_of(value, m, bias, least);
    if (__builtin_expect(n == CHUNK, 1)) storei(to + o * quick.ld, bytes);
    else store_bytes(to + o * quick.ld, bytes, n);
    near |= (uint64_t)quick.is_near(least) << o;
  }
};
#else
struct ToCodes {
  Quick quick;
  int8_t* to;
  const float *m, *bias;
  int64_t n;
  uint64_t near;  // bit o: row o lies near a tie, and is left to others

  ToCodes(const Layer& l, const Finish& f, int64_t row, const Chunk& chunk)
      : quick(f.quick), to(f.codes + row * f.ld + chunk.at), m(l.table.quick_m + chunk.index * CHUNK), bias(l.table.quick_bias + chunk.index * CHUNK),
        n(chunk.n), near(0) {}
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) {
    vf q[4], distance = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) q[j] = __builtin_convertvector(sums[j], vf) * load(m + j * VL) + load(bias + j * VL);
    const vi bytes = quick.bytes_of(q[0], q[1], q[2], q[3], distance);
    if (__builtin_expect(n == CHUNK, 1)) storei(to + o * quick.ld, bytes);
    else store_bytes(to + o * quick.ld, bytes, n);
    near |= (uint64_t)quick.is_near(distance) << o;
  }
};
#endif

struct ToFloats {
  float* y;
  const float *addend, *m, *bias;
  vf floor, ceiling;
  int64_t ld, n;
  uint64_t near = 0;

  // `own`: room for the factors of dynamic codes.
  ToFloats(const Layer& l, const Finish& f, int64_t row, const Chunk& chunk, float* own)
      : y(f.y + row * f.ld + chunk.at), addend((f.flags & ADDS) ? f.addend + row * f.ld + chunk.at : nullptr), m(l.table.m + chunk.index * CHUNK),
        bias(l.table.bias + chunk.index * CHUNK), floor(splat(thin_f32(f.p[F_LOW]))), ceiling(splat(thin_f32(f.p[F_HIGH]))), ld(f.ld), n(chunk.n) {
    if (!(f.flags & DYNAMIC)) return;
    const vf scale = splat(f.scales[row / f.p[F_GROUP_ROWS]]), alpha = splat(thin_f32(f.p[F_ALPHA]));
    for (int i = 0; i < CHUNK; i += VL) store(own + i, apart(apart(scale * load(m + i)) * alpha));
    m = own;
  }
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) const {
    vi whole[4];
    ordered(sums, whole);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const int64_t at = o * ld + j * VL;
      const int left = n == CHUNK || n - j * VL > VL ? VL : (int)(n - j * VL);
      if (left <= 0) break;
      vf v = apart(__builtin_convertvector(whole[j], vf) * load(m + j * VL)) + load(bias + j * VL);
      if (addend) v += left == VL ? load(addend + at) : load_n(addend + at, left);
      v = clamped(v, floor, ceiling);
      if (__builtin_expect(left == VL, 1)) store(y + at, v);
      else store_n(y + at, v, left);
    }
  }
};

struct Exactly {
  const Finish* f;
  const Table* table;
  int64_t row;
  Chunk chunk;
  uint64_t near = 0;

  [[gnu::noinline]] void operator()(const vi (&sums)[4], int64_t o) const {
    vi whole[4];
    ordered(sums, whole);
    f->exactly((const int32_t*)whole, 0, 1, *table, chunk.index * CHUNK, row + o, chunk.at, chunk.n);
  }
};

#if defined(__SSE2__) && !defined(__AVX512VNNI__)
constexpr bool WIDENS = true;  // weights are widened once for all rows of a chunk
#else
constexpr bool WIDENS = false;
#endif

// A chunk's weights, [row of the filter][quad of taps][4][CHUNK], and what its sums begin with, [4][VL].
struct Weights {
  const int8_t* w;
  const int32_t* start;
  const W* wide;  // the weights, if WIDENS
  vi first(int j) const { return loadi(start + j * VL); }
  W at(int64_t i) const { return WIDENS ? wide[i] : signed_words(loadi(w + i * CHUNK)); }
};

template <typename End>
uint64_t any_filter(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, End end);

#if defined(__aarch64__) && !defined(__ARM_FEATURE_DOTPROD)
// Rows of one chunk of a filter of 3 × 3, without dot products: tap by tap, two products added in 16 bits. `fits` unless two weights that meet are -128.
struct Taps {
  int8x16_t w[9];
  bool fits;
  explicit Taps(const Weights& weights) {
#pragma GCC unroll 3
    for (int h = 0; h < 3; h++) {
      const int8x16x4_t four = vld4q_s8(weights.w + 4 * h * CHUNK);
#pragma GCC unroll 3
      for (int t = 0; t < 3; t++) w[3 * h + t] = four.val[t];
    }
    int8x16_t larger = vdupq_n_s8(127);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) larger = vminq_s8(larger, vmaxq_s8(w[i], w[i + 1]));
    fits = vminvq_s8(larger) > -128;
  }
};
template <int STRIDE, typename End>
[[gnu::noinline]] uint64_t rolled(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, End end) {
  const Taps taps(weights);
  if (!taps.fits) return any_filter(l, weights, x, count, end);
  const int64_t places[3] = {0, l.taps_at[1], l.taps_at[2]}, step = l.row_bytes;
  const vi start[4] = {weights.first(0), weights.first(1), weights.first(2), weights.first(3)};
  for (int64_t o = 0; o < count; o++, x += STRIDE * step) {
    int32x4_t sum[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sum[j] = (int32x4_t)start[j];
#pragma GCC unroll 5
    for (int k = 0; k < 9; k += 2) {
      const int8x16_t a = vld1q_s8(x + k / 3 * step + places[k % 3]);
      int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(taps.w[k])), high = vmull_high_s8(a, taps.w[k]);
      if (k < 8) {
        const int8x16_t b = vld1q_s8(x + (k + 1) / 3 * step + places[(k + 1) % 3]);
        low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(taps.w[k + 1]));
        high = vmlal_high_s8(high, b, taps.w[k + 1]);
      }
      sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
      sum[1] = vaddw_high_s16(sum[1], low);
      sum[2] = vaddw_s16(sum[2], vget_low_s16(high));
      sum[3] = vaddw_high_s16(sum[3], high);
    }
    const vi sums[4] = {(vi)sum[0], (vi)sum[1], (vi)sum[2], (vi)sum[3]};
    end(sums, o);
  }
  return end.near;
}
#else
// Rows of one chunk of a filter of 3 × 3: weights stay in registers and each row is interleaved once. Nothing is called here, as that would send
// all registers to memory.
template <int STRIDE, typename End>
[[gnu::noinline]] uint64_t rolled(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, End end) {
  const int64_t t1 = l.taps_at[1], t2 = l.taps_at[2], step = l.row_bytes;
  W w[3][4];
#pragma GCC unroll 3
  for (int h = 0; h < 3; h++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) w[h][j] = signed_words(loadi(weights.w + (4 * h + j) * CHUNK));
  X taps[4];
  vi now[4], next[4];
  const auto read = [&]() __attribute__((always_inline)) {
    const vi a = loadi(x);
    interleave(a, loadi(x + t1), loadi(x + t2), a, taps);
    x += step;
  };
#define THIN_ADD(sums, from, h) _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) sums[j] = dot(from, taps[j], w[h][j])
  read();
  THIN_ADD(now, weights.first(j), 0);
  if (STRIDE == 1) {
    read();
    THIN_ADD(now, now[j], 1);
    THIN_ADD(next, weights.first(j), 0);
  }
  for (int64_t o = 0; o < count; o++) {
    if (STRIDE == 2) {
      read();
      THIN_ADD(now, now[j], 1);
    }
    read();
    THIN_ADD(now, now[j], 2);
    end(now, o);
    if (STRIDE == 1) {
      THIN_ADD(now, next[j], 1);
      THIN_ADD(next, weights.first(j), 0);
    } else {
      THIN_ADD(now, weights.first(j), 0);
    }
  }
#undef THIN_ADD
  return end.near;
}
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TOGETHER = 4;  // output rows at a time, by how many sums the registers hold
#else
constexpr int TOGETHER = 2;
#endif
// Rows [o, o + ROWS) of a chunk of any filter; each row of the input that several of them read is interleaved once.
template <int ROWS, typename End>
[[gnu::always_inline]] inline void some_rows(const Layer& l, const Weights& weights, const int8_t* x, int64_t o, End& end) {
  const int64_t* p = l.p;
  const int64_t step = l.row_bytes * (ROWS == 1 ? p[DH] : 1), stride = p[SH], height = p[KH], quads = l.quads;
  vi sums[ROWS][4];
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) sums[r][j] = weights.first(j);
  x += o * stride * l.row_bytes;
  for (int64_t i = 0; i < (ROWS - 1) * stride + height; i++, x += step)
    for (int64_t q = 0; q < quads; q++) {
      const int64_t* to = l.taps_at + 4 * q;
      const int64_t there = p[KW] - 4 * q;
      const vi first = loadi(x + to[0]);
      X taps[4];
      if (there >= 3) interleave(first, loadi(x + to[1]), loadi(x + to[2]), loadi(x + to[3]), taps);
      else interleave(first, there == 2 ? loadi(x + to[1]) : first, first, first, taps);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) {
        const int64_t h = i - r * stride, at = (h * quads + q) * 4;
        if (h < 0 || h >= height) continue;
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[r][j] = dot(sums[r][j], taps[j], weights.at(at + j));
      }
    }
#pragma GCC unroll 4
  for (int r = 0; r < ROWS; r++) end(sums[r], o + r);
}

// All rows of a chunk.
template <typename End>
[[gnu::noinline]] uint64_t any_filter(const Layer& l, const Weights& weights, const int8_t* x, int64_t count, End end) {
  int64_t o = 0;
  if (l.p[DH] == 1) {
    for (; o + TOGETHER <= count; o += TOGETHER) some_rows<TOGETHER>(l, weights, x, o, end);
    if (TOGETHER > 3 && o + 3 <= count) {
      some_rows<3>(l, weights, x, o, end);
      o += 3;
    }
    if (TOGETHER > 2 && o + 2 <= count) {
      some_rows<2>(l, weights, x, o, end);
      o += 2;
    }
  }
  for (; o < count; o++) some_rows<1>(l, weights, x, o, end);
  return end.near;
}

template <typename End>
inline uint64_t chunk_of(const Layer& l, bool rolls, const Weights& weights, const int8_t* x, int64_t count, const End& end) {
  if (!rolls) return any_filter(l, weights, x, count, end);
  return l.p[SH] == 1 ? rolled<1>(l, weights, x, count, end) : rolled<2>(l, weights, x, count, end);
}

inline void widen(const Weights& weights, int64_t vectors, W* wide) {
  for (int64_t i = 0; i < vectors; i++) wide[i] = signed_words(loadi(weights.w + i * CHUNK));
}

// `count` output rows from `row` on, the first of whose input rows lies at `rows`. `wide`: room for the weights of a chunk, if WIDENS.
void output_rows(const Layer& l, const Finish& f, const int8_t* rows, int64_t row, int64_t count, W* wide) {
  const int64_t* p = l.p;
  const bool to_codes = f.is_quick(), to_floats = (f.flags & (TO_FLOATS | TO_CODES)) == TO_FLOATS;
  const bool rolls = p[KH] == 3 && p[KW] == 3 && p[DH] == 1 && (p[SH] == 1 || p[SH] == 2) && (to_codes || to_floats);
  each_chunk(l, [&](const Chunk& chunk) {
    Weights weights = {(const int8_t*)l.call->buf[1] + chunk.index * l.vectors * CHUNK, l.table.start + chunk.index * CHUNK, wide};
    int32_t multiplied[CHUNK];
    if (f.flags & DYNAMIC_ZERO) {
      const int32_t zero = CODE_SHIFT - (int32_t)f.zeros[row / f.p[F_GROUP_ROWS]];
      for (int j = 0; j < 4; j++) storei(multiplied + j * VL, weights.first(j) * zero);
      weights.start = multiplied;
    }
    const int8_t* x = rows + chunk.at;
    if (WIDENS && !rolls) widen(weights, l.vectors, wide);
    if (to_floats) {
      float own[CHUNK];
      chunk_of(l, rolls, weights, x, count, ToFloats(l, f, row, chunk, own));
    } else if (!to_codes) {
      chunk_of(l, rolls, weights, x, count, Exactly{&f, &l.table, row, chunk});
    } else {
      Weights begun = weights;
#if defined(__aarch64__)
      int32_t starts[CHUNK];
      if (f.flags & SMALL) {
        for (int j = 0; j < 4; j++) storei(starts + j * VL, weights.first(j) + splati(SUM_BITS));
        begun.start = starts;
      }
#endif
      uint64_t left = chunk_of(l, rolls, begun, x, count, ToCodes(l, f, row, chunk));
      if (WIDENS && left && rolls) widen(weights, l.vectors, wide);
      Exactly end = {&f, &l.table, row, chunk};
      for (int64_t o = 0; left; o++, left >>= 1)
        if (left & 1) some_rows<1>(l, weights, x, o, end);
    }
  });
}

}  // namespace

// buf: x, weights, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param. An item is a band of output rows of an image.
THIN_KERNEL(depthwise_i8) {
  const int64_t* p = call->p;
  const Layer l(call);
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
    const int64_t row = image * p[OH] + first;
    W* const wide = (W*)(scratch + needed * l.row_bytes);
    if (!p[ROOM] || item + 1 < end) {
      output_rows(l, f, scratch, row, last - first, wide);
      continue;
    }
    // Columns of codes are written with strides that prefetchers follow into the rows below, which another thread has in its cache.
    Finish beside = f;
    beside.codes = beside.quick.codes = scratch + p[ROOM] - row * f.ld;
    output_rows(l, beside, scratch, row, last - first, wide);
    __builtin_memcpy(f.codes + row * f.ld, scratch + p[ROOM], (size_t)((last - first) * f.ld));
  }
}
