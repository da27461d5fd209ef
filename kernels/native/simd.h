// Vectors of floats as wide as the ISA level being compiled, on the compilers' own vector extension: +, -, *, comparisons and
// ?: work on vf and vi directly, and a * b + c becomes one fused multiply-add where the level has it.
#pragma once

#include <stdint.h>

#if defined(__SSE2__)
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of its own AVX-512 header (GCC bug 105593)
#endif
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int VL = 16;  // floats per vector
#elif defined(__AVX2__)
constexpr int VL = 8;
#else
constexpr int VL = 4;
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));

[[maybe_unused]] inline vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
[[maybe_unused]] inline vi loadi(const void* p) {
  vi v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
[[maybe_unused]] inline void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }

// x in every lane (x - 0 keeps the sign of -0, unlike x + 0).
[[maybe_unused]] inline vf splat(float x) { return x - vf{}; }

// The larger / smaller of both; a NaN in `x` survives, as ONNX's Relu and Clip want.
[[maybe_unused]] inline vf vmax(vf x, vf low) { return x < low ? low : x; }
[[maybe_unused]] inline vf vmin(vf x, vf high) { return x > high ? high : x; }
[[maybe_unused]] inline vf clamp(vf x, vf low, vf high) { return vmin(vmax(x, low), high); }

// The first n (0 < n < VL) floats; the other lanes are zero. Nothing past p[n - 1] is touched.
[[maybe_unused]] inline vf load_n(const float* p, int n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  float lanes[VL] = {0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return load(lanes);
#endif
}
[[maybe_unused]] inline void store_n(float* p, vf v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  float lanes[VL];
  store(lanes, v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
#endif
}

}  // namespace
