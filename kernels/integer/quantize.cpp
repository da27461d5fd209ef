// Quantize: codes of floats, on a grid that is given or that the data say.
#include "codes.h"
#include "fixed_neon.h"
#include "kernel.h"

namespace {

constexpr int64_t BLOCK = 4096;  // floats per work item
constexpr int64_t PIXELS = 512;  // pixels per work item
constexpr int64_t NEAR = 64;     // of these at a time

enum StaticParam { N, SCALE, ZERO, SIGNED };

inline Grid grid_of(const int64_t* p) { return Grid(thin_f32(p[SCALE]), p[ZERO], p[SIGNED] != 0); }

// Floats side by side, likewise their codes.
inline void quantize_row(const float* x, int8_t* to, int64_t n, const Grid& g) {
  int64_t i = 0;
#if defined(__aarch64__)
  if (g.inverse != 0.0f) {
    const Divided divided(g);
    for (; i + 16 <= n; i += 16) storei(to + i, sixteen_codes(x + i, g, divided));
  }
#endif
  for (; i + VL <= n; i += VL) store_codes(to + i, codes_of(load(x + i), g));
  if (i < n) store_codes_n(to + i, codes_of(load_n(x + i, (int)(n - i)), g), (int)(n - i));
}

// The lower three bytes of each lane, one after another.
inline void store_triples(int8_t* to, vi words) {
#if defined(__AVX512F__)
  const __m128i lower = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m512i parts = _mm512_shuffle_epi8((__m512i)words, _mm512_maskz_broadcast_i32x4(0xffff, lower));
  const __m512i bytes = _mm512_permutexvar_epi32((__m512i)(vi){0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0}, parts);
  _mm256_storeu_si256((__m256i*)to, _mm512_castsi512_si256(bytes));
  _mm_storeu_si128((__m128i*)(to + 32), _mm512_extracti32x4_epi32(bytes, 2));
#elif defined(__AVX2__)
  const __m128i lower = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m256i parts = _mm256_shuffle_epi8((__m256i)words, _mm256_broadcastsi128_si256(lower));
  const __m256i bytes = _mm256_permutevar8x32_epi32(parts, (__m256i)(vi){0, 1, 2, 4, 5, 6, 0, 0});
  _mm_storeu_si128((__m128i*)to, _mm256_castsi256_si128(bytes));
  _mm_storel_epi64((__m128i*)(to + 16), _mm256_extracti128_si256(bytes, 1));
#else
  int8_t bytes[4 * VL];
  __builtin_memcpy(bytes, &words, sizeof bytes);
  for (int i = 0; i < VL; i++) __builtin_memcpy(to + 3 * i, bytes + 4 * i, 3);
#endif
}

#if defined(__aarch64__)
// What `three_planes` does, for as many pixels as come in sixteens; says how many.
inline int64_t three_planes_together(const float* x, int64_t plane, int8_t* to, int64_t n, const Grid& grid) {
  const Divided divided(grid);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    int8x16x3_t codes;
    for (int c = 0; c < 3; c++) codes.val[c] = (int8x16_t)sixteen_codes(x + c * plane + i, grid, divided);
    vst3q_s8(to + 3 * i, codes);
  }
  return i;
}
#endif

// The colours of an image: n pixels of three planes, which lie `plane` floats apart.
inline void three_planes(const float* x, int64_t plane, int8_t* to, int64_t n, const Grid& grid) {
  int64_t i = 0;
#if defined(__aarch64__)
  if (grid.inverse != 0.0f) i = three_planes_together(x, plane, to, n, grid);
#endif
  for (; i + VL <= n; i += VL) {
    vi words = {};
    for (int c = 0; c < 3; c++) words |= ((__builtin_convertvector(steps_of(load(x + c * plane + i), grid), vi) + grid.zero) & 255) << 8 * c;
    store_triples(to + 3 * i, words);
  }
  for (int c = 0; i < n && c < 3; c++) {
    int8_t codes[VL];
    store_codes(codes, codes_of(load_n(x + c * plane + i, (int)(n - i)), grid));
    for (int64_t j = i; j < n; j++) to[3 * j + c] = codes[j - i];
  }
}

// Four channels of n pixels, of which all have `channels`: planes lie `plane` floats apart.
inline void four_planes(const float* x, int64_t plane, int8_t* to, int64_t channels, int64_t n, const Grid& grid) {
  for (int64_t i = 0; i < n; i += VL) {
    const int64_t count = n - i < VL ? n - i : VL;
    vi words = {};
    for (int c = 0; c < 4; c++) {
      const float* from = x + c * plane + i;
      words |= ((__builtin_convertvector(steps_of(count == VL ? load(from) : load_n(from, (int)count), grid), vi) + grid.zero) & 255) << 8 * c;
    }
    int32_t lanes[VL];
    __builtin_memcpy(lanes, &words, sizeof words);
    for (int64_t j = 0; j < count; j++) __builtin_memcpy(to + (i + j) * channels, lanes + j, 4);
  }
}

// Least and largest of n floats and 0. NaN if one of them is NaN.
inline void range_of(const float* x, int64_t n, float& low, float& high) {
  vf least = {}, most = {}, sum = {};  // a NaN survives in the sum of x * 0 as does Inf, which is looked at again
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    const vf v = load(x + i);
    least = v < least ? v : least;
    most = v > most ? v : most;
    sum += v * 0.0f;
  }
  if (i < n) {
    const vf v = load_n(x + i, (int)(n - i));
    least = v < least ? v : least;
    most = v > most ? v : most;
    sum += v * 0.0f;
  }
  low = high = 0.0f;
  float odd = 0.0f;
  for (int lane = 0; lane < VL; lane++) {
    low = least[lane] < low ? least[lane] : low;
    high = most[lane] > high ? most[lane] : high;
    odd += sum[lane];
  }
  if (odd == 0.0f) return;
  for (i = 0; i < n; i++)
    if (x[i] != x[i]) low = high = x[i];
}

}  // namespace

// buf: x, codes. p: StaticParam. Items of BLOCK floats.
THIN_KERNEL(quantize) {
  const Grid grid = grid_of(call->p);
  const int64_t start = begin * BLOCK, stop = end * BLOCK < call->p[N] ? end * BLOCK : call->p[N];
  quantize_row((const float*)call->buf[0] + start, (int8_t*)call->buf[1] + start, stop - start, grid);
}

// buf: x[image][channel][pixel], codes[image][pixel][channel]. p: pixels of an image as N, the rest of StaticParam, channels. Items of PIXELS pixels.
THIN_KERNEL(quantize_planes) {
  const Grid grid = grid_of(call->p);
  const int64_t pixels = call->p[N], channels = call->p[SIGNED + 1], blocks = (pixels + PIXELS - 1) / PIXELS;
  for (int64_t item = begin; item < end; item++) {
    const int64_t image = item / blocks, first = item % blocks * PIXELS, last = first + PIXELS < pixels ? first + PIXELS : pixels;
    if (channels == 3) {
      three_planes((const float*)call->buf[0] + image * 3 * pixels + first, pixels, (int8_t*)call->buf[1] + (image * pixels + first) * 3, last - first, grid);
      continue;
    }
    const float* x = (const float*)call->buf[0] + image * channels * pixels;
    int8_t* to = (int8_t*)call->buf[1] + image * pixels * channels;
    for (int64_t i = first; i < last; i += NEAR) {  // so few pixels that their codes stay in L1
      const int64_t n = last - i < NEAR ? last - i : NEAR;
      int64_t c = 0;
      for (; c + 4 <= channels; c += 4) four_planes(x + c * pixels + i, pixels, to + i * channels + c, channels, n, grid);
      for (; c < channels; c++) {
        int8_t row[NEAR];
        quantize_row(x + c * pixels + i, row, n, grid);
        for (int64_t j = 0; j < n; j++) to[(i + j) * channels + c] = row[j];
      }
    }
  }
}

// buf: x, codes, scale of each group, for uint8 also the zero point of each. p: floats of a group, whether int8. An item is a group.
THIN_KERNEL(quantize_dynamic) {
  const int64_t n = call->p[0];
  const bool is_signed = call->p[1] != 0;
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item * n;
    float low, high;
    range_of(x, n, low, high);
    float scale, zero = 0.0f;
    if (is_signed) {
      scale = (low != low || high > -low ? high : -low) / 127.0f;
      scale = scale == 0.0f ? 1.0f : scale;
    } else {
      scale = (high - low) / 255.0f;
      scale = scale == 0.0f ? 1.0f : scale;
      zero = -low / scale;
      zero = zero > 255.0f ? 255.0f : zero > 0.0f ? zero : 0.0f;  // NaN too becomes 0
      zero = (zero + MAGIC) - MAGIC;
      ((uint8_t*)call->buf[3])[item] = (uint8_t)zero;
    }
    ((float*)call->buf[2])[item] = scale;
    quantize_row(x, (int8_t*)call->buf[1] + item * n, n, Grid(scale, (int64_t)zero, is_signed));
  }
}

// buf: x, y. p: StaticParam. y = the codes of x times the scale. Items of BLOCK floats.
THIN_KERNEL(quantized) {
  const Grid grid = grid_of(call->p);
  const float* x = (const float*)call->buf[0];
  float* y = (float*)call->buf[1];
  int64_t i = begin * BLOCK;
  const int64_t stop = end * BLOCK < call->p[N] ? end * BLOCK : call->p[N];
  for (; i + VL <= stop; i += VL) store(y + i, steps_of(load(x + i), grid) * grid.scale);
  if (i < stop) store_n(y + i, steps_of(load_n(x + i, (int)(stop - i)), grid) * grid.scale, (int)(stop - i));
}
