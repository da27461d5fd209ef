// Floats that stay scalars.
#pragma once

namespace {

// A sum by itself: clang would gather four of them into a vector, an instruction each, to save multiply-adds.
[[maybe_unused]] inline float alone(float x) {
#if defined(__SSE2__)
  asm("" : "+x"(x));
#elif defined(__ARM_NEON)
  asm("" : "+w"(x));
#endif
  return x;
}

}  // namespace
