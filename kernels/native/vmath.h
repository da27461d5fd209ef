// exp, sigmoid and tanh on vectors.
#pragma once

#include "simd.h"

namespace {

[[maybe_unused]] inline vf abs_of(vf x) { return (vf)((vi)x & 0x7fffffff); }

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
  const vf known = x == x ? n : vf{};  // NaN has no integer; p carries it on
  const vi whole = __builtin_convertvector(known, vi), half = whole >> 1;
  return p * (vf)((half + 127) << 23) * (vf)((whole - half + 127) << 23);
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
  return size < 0.625f ? near : (vf)((vi)far | ((vi)x & (int32_t)0x80000000));
}

}  // namespace
