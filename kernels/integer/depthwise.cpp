// Depthwise convolution of codes: one int8 filter per channel, channels in lanes, four taps of a row of the filter at a time.
//
// A band of input rows is copied into scratch with its padding, as unsigned codes, one plane per phase of the stride. There an output row is one flat
// run of bytes: what a tap reads of it lies a whole number of pixels further on.
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
  int64_t phase_bytes = (pixels * p[C] + CHUNK + 63) / 64 * 64;
  int64_t row_bytes = phases * phase_bytes;
  int64_t blocks = (p[C] + 15) / 16 + 3;  // of 16 channels in the weights and the table, the first ones again at the end
  int32_t flip = p[SIGNED] ? (int32_t)0x80808080 : 0;
  const Table table = Table(call->buf[2], p[STRIDE]);
};

inline void copy_flipped(int8_t* to, const int8_t* from, int64_t n, int32_t flip) {
  int64_t i = 0;
  for (; i + CHUNK <= n; i += CHUNK) storei(to + i, loadi(from + i) ^ flip);
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
[[gnu::always_inline]] inline void four_taps(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, X (&x)[4]) {
  const vi va = loadi(a), vb = loadi(b), vc = loadi(c), vd = loadi(d);
  const vi ab = zip(va, vb, false, false), AB = zip(va, vb, true, false), cd = zip(vc, vd, false, false), CD = zip(vc, vd, true, false);
  x[0] = unsigned_words(zip(ab, cd, false, true));
  x[1] = unsigned_words(zip(ab, cd, true, true));
  x[2] = unsigned_words(zip(AB, CD, false, true));
  x[3] = unsigned_words(zip(AB, CD, true, true));
}

// The end of a chunk: n outputs from `column` on of an output row.
[[gnu::always_inline]] inline void finish_chunk(const Layer& l, const Finish& f, const vi (&sum)[4], int64_t block, int64_t row, int64_t column, int64_t n) {
  if (f.quick()) {
    vf q[4], distance = {};
    for (int j = 0; j < 4; j++) {
      const int64_t at = (j * l.blocks + block) * 4;
      q[j] = __builtin_convertvector(sum[j], vf) * load(l.table.quick_m + at) + load(l.table.quick_bias + at);
    }
    const vi bytes = f.quick_codes(q[0], q[1], q[2], q[3], distance);
    store_bytes(f.codes + row * f.ld + column, bytes, n);
    if (__builtin_expect(!f.is_near(distance), 1)) return;
  }
  int32_t ordered[CHUNK];
  for (int j = 0; j < 4; j++) {
    int32_t lanes[VL];
    storei(lanes, sum[j]);
    for (int i = 0; i < PARTS; i++) __builtin_memcpy(ordered + 16 * i + 4 * j, lanes + 4 * i, 16);
  }
  f.exactly(ordered, l.table, block * 16, row, column, n);
}

// Output row `row`, whose first input row lies at `rows`; HEIGHT and QUADS: of the filter, where they are known.
template <int HEIGHT, int QUADS>
void output_row(const Layer& l, const Finish& f, const int8_t* rows, int64_t row) {
  const int64_t* p = l.p;
  const int64_t height = HEIGHT ? HEIGHT : p[KH], quads = QUADS ? QUADS : l.quads, width = p[OW] * p[C];
  const bool is_flat = p[C] % 16 == 0;
  const int8_t* w = (const int8_t*)l.call->buf[1];
  const int64_t part = l.blocks * 16, start_part = l.blocks * 4;
  const int32_t zero = (f.flags & DYNAMIC_ZERO) ? -(int32_t)f.zeros[row / f.p[F_GROUP_ROWS]] : 0;
  int64_t tap_at[16];
  for (int64_t t = 0; t < 4 * quads && t < 16; t++) {
    const int64_t u = (t < p[KW] ? t : 0) * p[DW];
    tap_at[t] = u % p[SW] * l.phase_bytes + u / p[SW] * p[C];
  }
  for (int64_t at = 0, channel = 0; at < width;) {
    const int64_t n = is_flat ? (width - at < CHUNK ? width - at : CHUNK) : (p[C] - channel < CHUNK ? p[C] - channel : CHUNK);
    const int64_t block = channel / 16;
    vi sum[4];
    for (int j = 0; j < 4; j++) {
      sum[j] = loadi(l.table.start + j * start_part + block * 4);
      if (f.flags & DYNAMIC_ZERO) sum[j] *= zero;
    }
    for (int64_t h = 0; h < height; h++) {
      const int8_t* x = rows + h * p[DH] * l.row_bytes + at;
      for (int64_t q = 0; q < quads; q++) {
        X taps[4];
        const int64_t* to = tap_at + 4 * q;
        four_taps(x + to[0], x + to[1], x + to[2], x + to[3], taps);
        const int8_t* own = w + ((h * quads + q) * 4 * l.blocks + block) * 16;
        for (int j = 0; j < 4; j++) sum[j] = dot(sum[j], taps[j], signed_words(loadi(own + j * part)));
      }
    }
    finish_chunk(l, f, sum, block, row, at, n);
    at += n;
    channel += n;
    while (channel >= p[C]) channel -= p[C];
  }
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
    for (int64_t oh = first; oh < last; oh++) {
      const int8_t* rows = scratch + (oh - first) * p[SH] * l.row_bytes;
      if (p[KH] == 3 && l.quads == 1) output_row<3, 1>(l, f, rows, image * p[OH] + oh);
      else if (p[KH] == 5 && l.quads == 2) output_row<5, 2>(l, f, rows, image * p[OH] + oh);
      else output_row<0, 0>(l, f, rows, image * p[OH] + oh);
    }
  }
}
