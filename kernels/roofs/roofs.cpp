// What the machine can do at most: multiply-adds that wait for nothing, and reads that do nothing else. No operator uses them.
#include "kernel.h"
#include "simd.h"
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

constexpr int CHAINS = 12;  // latency × units on the CPUs of today is 8 to 10; with two operands they fit 16 registers

// The compiler must take x for changed, so that it can neither drop nor move what is done with it.
template <typename V>
inline void opaque(V& x) {
#if defined(__AVX512F__)
  __asm__ volatile("" : "+v"(x));
#elif defined(__SSE2__)
  __asm__ volatile("" : "+x"(x));
#elif defined(__ARM_NEON)
  __asm__ volatile("" : "+w"(x));
#else
  __asm__ volatile("" : : "r"(&x) : "memory");
#endif
}

// Integer products of one instruction group: `MACS` multiply-accumulates of int8 into int32.
#if defined(__AVX512VNNI__)
typedef __m512i Codes;
typedef __m512i Sums;
constexpr int MACS = 64;
inline Sums products(Sums sum, Codes a, Codes b) { return _mm512_dpbusd_epi32(sum, a, b); }
inline Codes ones() { return _mm512_set1_epi8(1); }
#elif defined(__AVX512BW__)
typedef __m512i Codes;
typedef __m512i Sums;
constexpr int MACS = 64;
inline Sums products(Sums sum, Codes a, Codes b) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), _mm512_set1_epi16(1)));
}
inline Codes ones() { return _mm512_set1_epi8(1); }
#elif defined(__AVX2__)
typedef __m256i Codes;
typedef __m256i Sums;
constexpr int MACS = 32;
inline Sums products(Sums sum, Codes a, Codes b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}
inline Codes ones() { return _mm256_set1_epi8(1); }
#elif defined(__SSE2__)
typedef __m128i Codes;  // eight of them, widened: SSE2 multiplies no bytes
typedef __m128i Sums;
constexpr int MACS = 8;
inline Sums products(Sums sum, Codes a, Codes b) { return _mm_add_epi32(sum, _mm_madd_epi16(a, b)); }
inline Codes ones() { return _mm_set1_epi16(1); }
#elif defined(__ARM_FEATURE_DOTPROD)
typedef int8x16_t Codes;
typedef int32x4_t Sums;
constexpr int MACS = 16;
inline Sums products(Sums sum, Codes a, Codes b) { return vdotq_s32(sum, a, b); }
inline Codes ones() { return vdupq_n_s8(1); }
#elif defined(__ARM_NEON)
typedef int8x16_t Codes;
typedef int32x4_t Sums;
constexpr int MACS = 16;
inline Sums products(Sums sum, Codes a, Codes b) {
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  return vpadalq_s16(sum, vmlal_s8(low, vget_high_s8(a), vget_high_s8(b)));
}
inline Codes ones() { return vdupq_n_s8(1); }
#else
typedef int32_t Codes;
typedef int32_t Sums;
constexpr int MACS = 1;
inline Sums products(Sums sum, Codes a, Codes b) { return sum + a * b; }
inline Codes ones() { return 1; }
#endif

}  // namespace

// Buffers: out, 256 bytes per item. Parameters: multiply-adds of an item, a multiple of 768.
THIN_KERNEL(roof_fma) {
  char* out = (char*)call->buf[0];
  for (int64_t item = begin; item < end; item++) {
    vf sums[CHAINS], a = splat(0.5f), b = splat(0.25f);
    for (int i = 0; i < CHAINS; i++) sums[i] = splat((float)i);
    opaque(b);
    for (int64_t left = call->p[0]; left > 0; left -= CHAINS * VL) {
      opaque(a);
      for (int i = 0; i < CHAINS; i++) sums[i] = a * b + sums[i];
      for (int i = 0; i < CHAINS; i++) opaque(sums[i]);
    }
    for (int i = 1; i < CHAINS; i++) sums[0] += sums[i];
    store((float*)(out + item * 256), sums[0]);
  }
}

// Buffers and parameters as above; multiply-adds of int8. Leaves their number, since each adds 1.
THIN_KERNEL(roof_int8) {
  char* out = (char*)call->buf[0];
  for (int64_t item = begin; item < end; item++) {
    Sums sums[CHAINS];
    Codes a = ones(), b = ones();
    for (int i = 0; i < CHAINS; i++) sums[i] = Sums{};
    opaque(b);
    for (int64_t left = call->p[0]; left > 0; left -= CHAINS * MACS) {
      for (int i = 0; i < CHAINS; i++) {
        opaque(a);  // each time, or one product would do for all chains
        sums[i] = products(sums[i], a, b);
      }
    }
    int32_t total = 0;
    for (int i = 0; i < CHAINS; i++) {
      int32_t lanes[sizeof(Sums) / 4];
      const Sums sum = sums[i];  // the copy leaves the others in registers
      __builtin_memcpy(lanes, &sum, sizeof sum);
      for (int32_t lane : lanes) total += lane;
    }
    __builtin_memcpy(out + item * 256, &total, 4);
  }
}

// Buffers: data, out (256 bytes per item). Parameters: bytes that belong to an item (a multiple of 1024), how often they are read. Four streams side
// by side, as the fastest kernels read memory: one stream waits for it a third longer.
THIN_KERNEL(roof_read) {
  constexpr int STREAMS = 4, LOADS = 4;
  const int64_t nbytes = call->p[0], each = nbytes / STREAMS;
  char* out = (char*)call->buf[1];
  for (int64_t item = begin; item < end; item++) {
    const char* data = (const char*)call->buf[0] + item * nbytes;
    vi sums[STREAMS] = {};
    for (int64_t time = 0; time < call->p[1]; time++) {
      for (int64_t at = 0; at < each; at += LOADS * sizeof(vi)) {
        for (int s = 0; s < STREAMS; s++)
          for (int i = 0; i < LOADS; i++) sums[s] += loadi(data + s * each + at + i * sizeof(vi));
      }
      for (vi& sum : sums) opaque(sum);
    }
    store((float*)(out + item * 256), (vf)(sums[0] + sums[1] + sums[2] + sums[3]));
  }
}
