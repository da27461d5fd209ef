// What both depthwise kernels share: their parameters, and a panel's taps in fp32.
#pragma once

#include "../gemm/tiles.h"

namespace {

enum Param {
  C, H, W, OH, OW,   // channels, input, output
  KH, KW, SH, SW, PH, PW, DH, DW,
  ROWS, CHUNK,       // output rows and panels of a work item
  STRIP, PITCH,      // planes.cpp: output rows that are done together, floats of a row in scratch
  LOW, HIGH,         // floats
  PACKED             // PackedParam
};

// Keeps a loaded vector in a register: GCC would rather load it again for each of its uses.
inline vf kept(vf x) {
#if defined(__SSE2__)
  asm("" : "+v"(x));
#endif
  return x;
}

inline void decode_float(const Packed& w, int64_t panel, int64_t, int64_t n, float* out) {
  const float* from = (const float*)w.panel(panel);
  for (int64_t i = 0; i < n * PANEL; i += VL) store(out + i, load(from + i));
}

typedef void (*Decode)(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out);

// The panel's n taps [n][16], each times its channel's scale.
inline void taps(const Packed& packed, int64_t panel, int64_t n, Decode decode, float* out) {
  decode(packed, panel, 0, n, out);
  const float* scale = packed.scale(panel);
  if (!scale) return;
  for (int64_t k = 0; k < n; k++)
    for (int v = 0; v < PANEL; v += VL) store(out + k * PANEL + v, load(out + k * PANEL + v) * load(scale + v));
}

// The part of the step that a work item does.
struct Item {
  int64_t panels, chunks, blocks;
  int64_t first, last, oh0, oh1, image;  // panels [first, last), output rows [oh0, oh1)
  Item(const int64_t* p, int64_t item)
      : panels((p[C] + PANEL - 1) / PANEL), chunks((panels + p[CHUNK] - 1) / p[CHUNK]), blocks((p[OH] + p[ROWS] - 1) / p[ROWS]) {
    first = item % chunks * p[CHUNK];
    last = first + p[CHUNK] < panels ? first + p[CHUNK] : panels;
    oh0 = item / chunks % blocks * p[ROWS];
    oh1 = oh0 + p[ROWS] < p[OH] ? oh0 + p[ROWS] : p[OH];
    image = item / chunks / blocks;
  }
};

}  // namespace
