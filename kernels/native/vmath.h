// Roots, exponentials, logarithms and the error function on vectors.
//
// Where no other source is named, polynomials were fitted in float64 so that the largest error is least; what is left of it in
// float32 is measured by tests/test_native_elementwise.py.
#pragma once

#include "simd.h"

namespace {

[[maybe_unused]] inline vf abs_of(vf x) { return (vf)((vi)x & 0x7fffffff); }
[[maybe_unused]] inline vf with_sign_of(vf size, vf x) { return (vf)((vi)size | ((vi)x & (int32_t)0x80000000)); }

// e^x within 1.5 units in the last place; subnormal results included. exp(NaN) = NaN, exp(Inf) = Inf, exp(-Inf) = 0.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its polynomial (Cephes' coefficients, Moshier 1989), and 2^n in two factors,
// since 2^n alone may overflow or be subnormal where the product is neither.
[[maybe_unused]] inline vf exp_of(vf x) {
  x = clamp(x, splat(-104.0f), splat(89.0f));
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer
  const vf n = (x * 1.44269504088896341f + magic) - magic;
  vf r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
#if defined(__AVX512F__)
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  const vf known = x == x ? n : vf{};  // NaN has no integer; p carries it on
  const vi whole = __builtin_convertvector(known, vi), half = whole >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
#endif
}

// 1 / (1 + e^-x), from e^-|x| so that neither end loses precision.
[[maybe_unused]] inline vf sigmoid_of(vf x) {
  const vf e = exp_of(-abs_of(x));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// Near 0 a polynomial (Cephes, Moshier 1989), since 1 - e would cancel there.
[[maybe_unused]] inline vf tanh_of(vf x) {
  const vf size = abs_of(x), square = x * x;
  vf p = splat(-5.70498872745e-3f);
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const vf near = p * square * x + x;
  const vf e = exp_of(-2.0f * size);
  const vf far = (1.0f - e) / (1.0f + e);
  return size < 0.625f ? near : with_sign_of(far, x);
}

[[maybe_unused]] inline vf sqrt_of(vf x) {
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
  return (vf)_mm_sqrt_ps((__m128)x);
#else
  for (int i = 0; i < VL; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

// The nearest integer, halves to the even one. From 2^23 on (and for what is no number) there is nothing to round.
[[maybe_unused]] inline vf round_of(vf x) {
  const vf size = abs_of(x), magic = splat(8388608.0f);  // adding 2^23 rounds
  return size < 8388608.0f ? with_sign_of((size + magic) - magic, x) : x;
}
[[maybe_unused]] inline vf floor_of(vf x) {
  const vf r = round_of(x);
  return r > x ? r - 1.0f : r;
}

// ln x within 1.5 units in the last place; -Inf at 0, NaN below.
//
// x = m 2^n with m in [sqrt 1/2, sqrt 2); ln m by a polynomial in m - 1.
[[maybe_unused]] inline vf log_of(vf x) {
  const vf least = splat(1.17549435e-38f), none = vf{};
  const vi bits = (vi)(x < least ? x * 8388608.0f : x);  // subnormal numbers times 2^23
  const vi whole = (bits - 0x3f3504f3) >> 23;            // the bits of sqrt 1/2
  const vf n = __builtin_convertvector(whole, vf) - (x < least ? splat(23.0f) : none);
  const vf f = (vf)(bits - (whole << 23)) - 1.0f, square = f * f;
  vf p = splat(6.917984039e-2f);
  p = p * f - 1.177966669e-1f;
  p = p * f + 1.186603531e-1f;
  p = p * f - 1.238579825e-1f;
  p = p * f + 1.421991885e-1f;
  p = p * f - 1.666919738e-1f;
  p = p * f + 2.000215203e-1f;
  p = p * f - 2.499998659e-1f;
  p = p * f + 3.333331048e-1f;
  vf y = f - (0.5f * square - f * square * p + n * 2.12194440e-4f) + n * 0.693359375f;
  y = x < __builtin_inff() ? y : x;  // Inf and NaN
  return x > 0.0f ? y : (x == 0.0f ? splat(-__builtin_inff()) : splat(__builtin_nanf("")));
}

// ln(1 + x) for x in [0, 1], also where 1 + x rounds to 1.
[[maybe_unused]] inline vf log1p_of(vf x) {
  const vf u = x + 1.0f;
  return log_of(u) + (x - (u - 1.0f)) / u;
}

// e^x - 1 for x <= 0 (0 for x > 0), within 2 units in the last place; NaN stays NaN.
[[maybe_unused]] inline vf expm1_of(vf x) {
  x = clamp(x, splat(-30.0f), vf{});
  const vf magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest integer
  const vf n = (x * 1.44269504088896341f + magic) - magic;
  vf r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = splat(1.394110965e-3f);
  p = p * r + 8.363175206e-3f;
  p = p * r + 4.166637361e-2f;
  p = p * r + 1.666657627e-1f;
  p = p * r + 0.5f;
  p = p * (r * r) + r;
  const vf known = x == x ? n : vf{};  // NaN has no integer; p carries it on
  const vf scale = (vf)((__builtin_convertvector(known, vi) + 127) << 23);
  return p * scale + (scale - 1.0f);
}

// 1 - erf x for x >= 0: e^(-x^2) times a polynomial in t = 1 / (1 + 0.4 x), times t.
//
// x^2 is split in two: the first part is exact, so that no error of the exponent grows with it.
[[maybe_unused]] inline vf erfc_of(vf x) {
  x = vmin(x, splat(11.0f));  // from 10.1 on the result is 0
  const vf t = 1.0f / (1.0f + 0.4f * x);
  vf p = splat(-2.939936146e-2f);
  p = p * t + 1.969535202e-1f;
  p = p * t - 4.963176548e-1f;
  p = p * t + 5.441069603e-1f;
  p = p * t - 2.815960050e-1f;
  p = p * t + 2.705777287e-1f;
  p = p * t + 1.301946342e-1f;
  p = p * t + 2.148086429e-1f;
  p = p * t + 2.249653190e-1f;
  p = p * t + 2.257062197e-1f;
  const vf coarse = (vf)((vi)x & (int32_t)0xfffff000), rest = (x - coarse) * (x + coarse);
  vf e = 1.0f - rest * (1.0f / 4.0f);
  e = 1.0f - rest * (1.0f / 3.0f) * e;
  e = 1.0f - rest * 0.5f * e;
  e = 1.0f - rest * e;  // e^(-rest); rest < 0.11
  return exp_of(-(coarse * coarse)) * e * (t * p);
}

[[maybe_unused]] inline vf erf_of(vf x) {
  const vf size = abs_of(x), square = x * x;
  vf p = splat(7.853857824e-5f);
  p = p * square - 8.010192541e-4f;
  p = p * square + 5.188327748e-3f;
  p = p * square - 2.685381100e-2f;
  p = p * square + 1.128358543e-1f;
  p = p * square - 3.761262596e-1f;
  p = p * square + 1.128379107f;
  return size < 1.0f ? x * p : with_sign_of(1.0f - erfc_of(size), x);
}

// ln(1 + e^x).
[[maybe_unused]] inline vf softplus_of(vf x) { return vmax(x, vf{}) + log1p_of(exp_of(-abs_of(x))); }

}  // namespace
