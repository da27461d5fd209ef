// What becomes of the sums of a depthwise convolution of codes: codes the quick way, floats, or the step by step way of either.
#pragma once

#include "depthwise_band.h"
#include "quick_neon.h"

namespace {

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

// What becomes of the sums of row o of the chunk that it was told of last; `row`: the first one.
#if defined(__aarch64__)
template <int BEGUN>
struct ToCodes {
  QuickNeon quick;
  int8_t *row_codes, *to = nullptr;
  const float *m = nullptr, *bias = nullptr;
  int64_t n = 0;
  uint64_t near = 0;

  ToCodes(const Finish& f, int64_t row) : quick(f), row_codes(f.codes + row * f.ld) {}
  void tell(const Layer& l, const Chunk& chunk) {
    near = 0;
    to = row_codes + chunk.at;
    m = l.table.quick_m + chunk.index * CHUNK;
    bias = l.table.begun_bias + chunk.index * CHUNK;
    n = chunk.n;
  }
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) {
    uint16x8_t least;
    vf value[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) value[j] = float_of<BEGUN>(sums[j]);
    const vi bytes = quick.bytes_of(value, read_again(m), read_again(bias), least);
    if (__builtin_expect(n == CHUNK, 1)) storei(to + o * quick.ld, bytes);
    else store_bytes(to + o * quick.ld, bytes, n);
    near |= (uint64_t)quick.is_near(least) << o;
  }
};
#else
template <int>
struct ToCodes {
  Quick quick;
  int8_t *row_codes, *to = nullptr;
  const float *m = nullptr, *bias = nullptr;
  int64_t n = 0;
  uint64_t near = 0;  // bit o: row o lies near a tie, and is left to others

  ToCodes(const Finish& f, int64_t row) : quick(f.quick()), row_codes(f.codes + row * f.ld) {}
  void tell(const Layer& l, const Chunk& chunk) {
    near = 0;
    to = row_codes + chunk.at;
    m = l.table.quick_m + chunk.index * CHUNK;
    bias = l.table.quick_bias + chunk.index * CHUNK;
    n = chunk.n;
  }
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) {
    vi q[4];
    vu least = {};
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      q[j] = FixedPoint::of(__builtin_convertvector(sums[j], vf) * load(m + j * VL) + load(bias + j * VL));
      least = j ? FixedPoint::least(least, q[j]) : (vu)q[j];
    }
    const vi bytes = quick.bytes(q[0], q[1], q[2], q[3]);
    if (__builtin_expect(n == CHUNK, 1)) storei(to + o * quick.ld, bytes);
    else store_bytes(to + o * quick.ld, bytes, n);
    near |= (uint64_t)quick.is_near(least) << o;
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

#if !defined(__aarch64__)
// Codes step by step, of rows near ties.
struct ByDivision {
  Quick quick;
  int8_t* to;
  const float *m, *bias;
  vf floor, ceiling;
  float scale;
  int64_t zero, n;
  uint64_t near = 0;

  ByDivision(const Layer& l, const Finish& f, int64_t row, const Chunk& chunk)
      : quick(f.quick()), to(f.codes + row * f.ld + chunk.at), m(l.table.m + chunk.index * CHUNK), bias(l.table.bias + chunk.index * CHUNK),
        floor(splat(thin_f32(f.p[F_LOW]))), ceiling(splat(thin_f32(f.p[F_HIGH]))), scale(f.grid.scale), zero(f.p[F_ZERO]), n(chunk.n) {}
  [[gnu::always_inline]] void operator()(const vi (&sums)[4], int64_t o) const {
    vi whole[4];
    ordered(sums, whole);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const vf y = apart(__builtin_convertvector(whole[j], vf) * load(m + j * VL)) + load(bias + j * VL);
      whole[j] = divided(clamp(y, floor, ceiling), scale, zero);
    }
    store_bytes(to + o * quick.ld, in_order(quick.bytes(whole[0], whole[1], whole[2], whole[3])), n);
  }
};
#endif

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

}  // namespace
