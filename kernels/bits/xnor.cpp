// Binary activations: their codes, and products with binary weights that count differing signs.
#include "finish.h"
#include "simd.h"

namespace {

typedef uint64_t Word;

constexpr int GROUP = 8;         // rows of a vector of 64 bytes, a word of 64 columns each
constexpr int PANEL_GROUPS = 4;  // groups of a panel; the last panel may have fewer
[[maybe_unused]] constexpr int64_t AHEAD = 4096;  // bytes between what is read and what is fetched

enum Param { K, N, HAS_BIAS, ALPHA, LOW, HIGH, SCALE_AT };
enum Buffer { CODES, X_SCALE, WEIGHT, BIAS, Y };

// Σ|x| by halves of a power of two (docs/quantization.md). `sums`: half of that power.
inline float sum_by_halves(const float* x, int64_t n, float* sums) {
  if (n == 1) return __builtin_fabsf(x[0]);
  int64_t half = 1;
  while (2 * half < n) half *= 2;
  for (int64_t i = 0; i < n - half; i++) sums[i] = __builtin_fabsf(x[i]) + __builtin_fabsf(x[half + i]);
  for (int64_t i = n - half; i < half; i++) sums[i] = __builtin_fabsf(x[i]);
  for (half /= 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; i++) sums[i] += sums[half + i];
  return sums[0];
}

// A bit for each of up to 64 codes: 1 where it is positive.
inline Word signs(const int8_t* codes, int64_t n) {
#if defined(__AVX512BW__)
  if (n >= 64) return ~(Word)_mm512_movepi8_mask(_mm512_loadu_si512(codes));
#elif defined(__AVX2__)
  if (n >= 64) {
    const uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i*)codes));
    return ~((Word)(uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i*)(codes + 32))) << 32 | low);
  }
#endif
  Word word = 0;
  for (int64_t i = 0; i < n && i < 64; i++) word |= (Word)(codes[i] > 0) << i;
  return word;
}

// Bits that differ, for each of P groups' rows.
template <int P>
inline void differing(const Word* w, const Word* x, int64_t words, Word* counts) {
#if defined(__AVX512VPOPCNTDQ__)
  __m512i sum[P];
  for (int p = 0; p < P; p++) sum[p] = _mm512_setzero_si512();
  for (int64_t i = 0; i < words; i++, w += P * GROUP) {
    const __m512i bits = _mm512_set1_epi64((long long)x[i]);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
      _mm_prefetch((const char*)(w + p * GROUP) + AHEAD, _MM_HINT_T0);
      sum[p] = _mm512_add_epi64(sum[p], _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(w + p * GROUP), bits)));
    }
  }
  for (int p = 0; p < P; p++) _mm512_storeu_si512(counts + p * GROUP, sum[p]);
#elif defined(__AVX2__)
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i mask = _mm256_set1_epi8(15);
  __m256i sum[2 * P];
  for (int p = 0; p < 2 * P; p++) sum[p] = _mm256_setzero_si256();
  for (int64_t i = 0; i < words; i++, w += P * GROUP) {
    const __m256i bits = _mm256_set1_epi64x((long long)x[i]);
#pragma GCC unroll 8
    for (int p = 0; p < 2 * P; p++) {
      if (p % 2 == 0) _mm_prefetch((const char*)(w + p * 4) + AHEAD, _MM_HINT_T0);
      const __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i*)(w + p * 4)), bits);
      const __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, mask)),
                                            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask)));
      sum[p] = _mm256_add_epi64(sum[p], _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
    }
  }
  for (int p = 0; p < 2 * P; p++) _mm256_storeu_si256((__m256i*)(counts + p * 4), sum[p]);
#else
  for (int r = 0; r < P * GROUP; r++) counts[r] = 0;
  for (int64_t i = 0; i < words; i++, w += P * GROUP)
    for (int r = 0; r < P * GROUP; r++) counts[r] += (Word)__builtin_popcountll(w[r] ^ x[i]);
#endif
}

template <int P>
inline void panel(const ThinCall* call, const Finish& done, int64_t item, const Word* x, int64_t words) {
  const int64_t n = call->p[N], k = call->p[K], first = item * PANEL_GROUPS * GROUP;
  Word counts[P * GROUP];
  differing<P>((const Word*)call->buf[WEIGHT] + first * words, x, words, counts);
  int32_t sums[P * GROUP + VL] = {};  // the last vector may reach past the panel
  for (int r = 0; r < P * GROUP; r++) sums[r] = (int32_t)(k - 2 * (int64_t)counts[r]);
  const int64_t rows = n - first < P * GROUP ? n - first : P * GROUP;
  for (int64_t r = 0; r < rows; r += VL) done(first + r, loadi(sums + r), (int)(rows - r < VL ? rows - r : VL));
}

}  // namespace

// buf: x, codes (1 or -1), scale of each group. p: floats of a group. An item is a group; scratch: half a power of two of floats that holds it.
THIN_KERNEL(binarize) {
  const int64_t n = call->p[0];
  for (int64_t item = begin; item < end; item++) {
    const float* x = (const float*)call->buf[0] + item * n;
    int8_t* to = (int8_t*)call->buf[1] + item * n;
    for (int64_t i = 0; i < n; i++) to[i] = x[i] >= 0.0f ? 1 : -1;
    ((float*)call->buf[2])[item] = sum_by_halves(x, n, (float*)call->scratch) / (float)n;
  }
}

// buf: Buffer. p: Param. An item is a panel of 32 rows; scratch: a word for each 64 columns.
THIN_KERNEL(xnor_gemv) {
  const int64_t* p = call->p;
  const int64_t words = (p[K] + 63) / 64, groups = (p[N] + GROUP - 1) / GROUP;
  Word* x = (Word*)call->scratch;
  for (int64_t i = 0; i < words; i++) x[i] = signs((const int8_t*)call->buf[CODES] + 64 * i, p[K] - 64 * i);
  const Finish done = {*(const float*)call->buf[X_SCALE], thin_f32(p[ALPHA]), thin_f32(p[LOW]), thin_f32(p[HIGH]),
                       (const float*)((const char*)call->buf[WEIGHT] + p[SCALE_AT]), p[HAS_BIAS] ? (const float*)call->buf[BIAS] : nullptr,
                       (float*)call->buf[Y]};
  for (int64_t item = begin; item < end; item++) {
    const int64_t left = groups - item * PANEL_GROUPS;
    if (left >= 4) panel<4>(call, done, item, x, words);
    else if (left == 3) panel<3>(call, done, item, x, words);
    else if (left == 2) panel<2>(call, done, item, x, words);
    else panel<1>(call, done, item, x, words);
  }
}
