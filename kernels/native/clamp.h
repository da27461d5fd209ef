// clamp() by the instructions that NEON has for it (compilers make comparisons and selections of it): a NaN in x survives there, too.
#pragma once

#include "simd.h"

namespace {

[[maybe_unused]] inline vf clamped(vf x, vf low, vf high) {
#if defined(__ARM_NEON)
  return (vf)vminq_f32(vmaxq_f32((float32x4_t)x, (float32x4_t)low), (float32x4_t)high);
#else
  return clamp(x, low, high);
#endif
}

}  // namespace
