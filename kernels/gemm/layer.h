// A product of one row of activations with panels: parameters, and how the sums of a panel become outputs.
#pragma once

#include "decode.h"

namespace {

enum Param { K, N, GROUPS, ALPHA, LOW, HIGH, BACKWARDS, PACKED };  // BACKWARDS: the last panel of a call first

struct Layer {
  const ThinCall* call;
  const int64_t* p;
  Packed packed;
  int64_t panels;  // per group
  explicit Layer(const ThinCall* c)
      : call(c), p(c->p), packed{(const char*)c->buf[1], c->p + PACKED}, panels((c->p[N] + PANEL - 1) / PANEL) {}
  const float* x(int64_t item) const { return (const float*)call->buf[0] + item / panels * p[K]; }

  // Scales, adds the bias, clamps and writes the sums of panel `item`.
  void write(int64_t item, const float* sums) const {
    const float *scale = packed.scale(item), *bias = (const float*)call->buf[2] + item * PANEL;
    float* y = (float*)call->buf[3] + item / panels * p[N] + item % panels * PANEL;
    const int64_t left = p[N] - item % panels * PANEL;
    const vf low = splat(thin_f32(p[LOW])), high = splat(thin_f32(p[HIGH]));
    for (int v = 0; v < NV && v * VL < left; v++) {
      vf factor = splat(thin_f32(p[ALPHA]));
      if (scale) factor *= load(scale + v * VL);
      const vf done = clamp(load(sums + v * VL) * factor + load(bias + v * VL), low, high);
      if (left - v * VL >= VL) store(y + v * VL, done);
      else store_n(y + v * VL, done, (int)(left - v * VL));
    }
  }
};

}  // namespace
