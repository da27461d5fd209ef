// Values that the compiler does not look through.
#pragma once

#include "simd.h"

namespace {

// What a product rounded on its own passes through, so that no addition is contracted with it.
[[maybe_unused]] inline vf apart(vf x) {
#if defined(__SSE2__)
  asm("" : "+v"(x));
#else
  asm("" : "+w"(x));
#endif
  return x;
}

}  // namespace
