// Winograd's transforms of F(E × E, 3 × 3), one axis at a time: inputs Bᵀd, sums Aᵀm, weights Gg, and back from those to the taps.
//
// The filter's and the input's polynomials are multiplied by their values at points, infinity among them (Winograd 1980; Lavin and Gray,
// arXiv 1509.09308). Rows for points ±p share their even and odd parts.
#pragma once

#include "kernel.h"
#include "simd.h"

namespace {

template <int E>
struct Points;

// Points 0, 1, -1, infinity.
template <>
struct Points<2> {
  static void input(const vf (&d)[4], vf (&t)[4]) {
    t[0] = d[2] - d[0];
    t[1] = d[2] + d[1];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
  }
  static void output(const vf (&m)[4], vf (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = m[3] + (m[1] - m[2]);
  }
  static void filter(const vf (&g)[3], vf (&u)[4]) {
    const vf even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = -g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  // Weights are -g0, (g0 ± g1 + g2) / 2, g2.
  static void taps(const vf (&u)[4], vf (&g)[3]) {
    g[0] = -u[0];
    g[1] = u[1] - u[2];
    g[2] = u[3];
  }
};

// Points 0, ±5/8, ±3/2, infinity: of the sets of small dyadic fractions that were tried the one with the least error (README.md).
template <>
struct Points<4> {
  static constexpr float A = 0.625f, B = 1.5f, A2 = A * A, B2 = B * B, A3 = A2 * A, B3 = B2 * B;
  static void input(const vf (&d)[6], vf (&t)[6]) {
    const vf even_a = d[4] - B2 * d[2], odd_a = d[3] - B2 * d[1], even_b = d[4] - A2 * d[2], odd_b = d[3] - A2 * d[1];
    t[0] = A2 * B2 * d[0] + (d[4] - (A2 + B2) * d[2]);
    t[1] = even_a + A * odd_a;
    t[2] = even_a - A * odd_a;
    t[3] = even_b + B * odd_b;
    t[4] = even_b - B * odd_b;
    t[5] = A2 * B2 * d[1] + (d[5] - (A2 + B2) * d[3]);
  }
  static void output(const vf (&m)[6], vf (&y)[4]) {
    const vf even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = A * odd_a + B * odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = A3 * odd_a + (B3 * odd_b + m[5]);
  }
  static void filter(const vf (&g)[3], vf (&u)[6]) {
    constexpr float OVER_A = 1 / (2 * A2 * (A2 - B2)), OVER_B = 1 / (2 * B2 * (B2 - A2));
    const vf even_a = OVER_A * (g[0] + A2 * g[2]), odd_a = A * OVER_A * g[1], even_b = OVER_B * (g[0] + B2 * g[2]), odd_b = B * OVER_B * g[1];
    u[0] = g[0] * (1 / (A2 * B2));
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  // Weights are g(p) over the product of p's distances to the other points: A² B² for 0, 2 A² (A² - B²) for ±A, and g2.
  static void taps(const vf (&u)[6], vf (&g)[3]) {
    g[0] = u[0] * (A2 * B2);
    g[1] = (u[1] - u[2]) * (A * (A2 - B2));
    g[2] = u[5];
  }
};

// The filter's taps for a vector of outputs, from its transformed weights, which lie `apart` floats apart.
template <int E>
void taps_of(const float* w, int64_t apart, vf (&taps)[3][3]) {
  constexpr int IN = E + 2;
  vf half[3][IN], line[IN], tap[3];
  for (int j = 0; j < IN; j++) {
    for (int i = 0; i < IN; i++) line[i] = load(w + (i * IN + j) * apart);
    Points<E>::taps(line, tap);
    for (int i = 0; i < 3; i++) half[i][j] = tap[i];
  }
  for (int i = 0; i < 3; i++) Points<E>::taps(half[i], taps[i]);
}

}  // namespace
