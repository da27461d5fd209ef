// Convolution of few NCHW channels into NHWC, or into NCHW (pixels.h): what a network does to its image. K is short there, and patches are made of scraps, so
// nothing is gathered: a strip of rows is copied to scratch with zeros around it, and pixels are read from there tap by tap.
#include "clamp.h"
#include "decode.h"
#include "gather.h"
#include "pixels.h"
#include "shuffle.h"

namespace {

// Pixels of a row × panels of outputs whose sums lie in registers.
#if defined(__AVX512F__)
constexpr int PIXELS = 14, NP = 2;
#elif defined(__AVX2__)
constexpr int PIXELS = 6, NP = 1;
#elif defined(__aarch64__)
constexpr int PIXELS = 6, NP = 1;
#else
constexpr int PIXELS = 3, NP = 1;
#endif
constexpr int FEW = 4 < PIXELS ? 4 : PIXELS;  // of a row that is narrower

enum Param {
  C, H, W, OH, OW, N,
  KH, KW, SH, SW, PH, PW, DH, DW,
  ROWS, PITCH,        // output rows of a work item, floats between rows of the strip
  LANES,              // 1: makes NCHW; a row of the strip is then one for each remainder of the columns by the stride, PITCH floats each
  OFFSETS_AT, DECODED_AT,  // floats from the start of scratch: after the strip
  KEPT,               // 1: encoded panels are decoded once a call, all of them; 0: for each strip, NP at a time
  LOW, HIGH,          // floats
  PACKED              // PackedParam
};

typedef void (*Decode)(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out);

struct Tile {
  const float* x;          // first tap of the first pixel
  const int64_t* offsets;  // of taps, in floats
  const float* w;          // [panels][K][16]
  int64_t k;
  float* y;
  int64_t ldy;
  int outputs;             // that exist, at most 16 of each panel
  const float *scale, *bias;
  float low, high;
};

inline void write(float* y, vf v, int left) {
  if (left >= VL) store(y, v);
  else if (left > 0) store_n(y, v, left);
}

// R pixels side by side × P panels. Sums begin with the bias where nothing scales them.
template <int R, int P, int STRIDE>
void tile(const Tile& t) {
  vf sum[R][P * NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int i = 0; i < P * NV; i++) sum[r][i] = t.scale ? vf{} : load(t.bias + i * VL);
  const float* w = t.w;
  for (int64_t k = 0; k < t.k; k++, w += PANEL) {
    const float* x = t.x + t.offsets[k];
    vf column[P * NV];
#pragma GCC unroll 8
    for (int i = 0; i < P * NV; i++) column[i] = load(w + i / NV * t.k * PANEL + i % NV * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int i = 0; i < P * NV; i++) sum[r][i] += column[i] * x[r * STRIDE];
  }
  if (t.scale)
#pragma GCC unroll 8
    for (int i = 0; i < P * NV; i++)
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) sum[r][i] = sum[r][i] * load(t.scale + i * VL) + load(t.bias + i * VL);
  const vf low = splat(t.low), high = splat(t.high);
  const int outputs = t.outputs;
  const int64_t ldy = t.ldy;
  float* y = t.y;
  if (outputs == P * PANEL)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int i = 0; i < P * NV; i++) store(y + r * ldy + i * VL, clamped(sum[r][i], low, high));
  else
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int i = 0; i < P * NV; i++) write(y + r * ldy + i * VL, clamped(sum[r][i], low, high), outputs - i * VL);
}

// The pixels of a row in tiles of R; the last tile may overlap the one before.
template <int R, int P, int STRIDE>
inline void across(Tile t, int64_t width) {
  const float* x = t.x;
  float* y = t.y;
  for (int64_t ow = 0; ow < width; ow += R) {
    const int64_t at = ow + R <= width ? ow : width - R;
    t.x = x + at * STRIDE;
    t.y = y + at * t.ldy;
    tile<R, P, STRIDE>(t);
  }
}

template <int P, int STRIDE>
inline void row_of(const Tile& t, int64_t width) {
  if (width >= PIXELS) across<PIXELS, P, STRIDE>(t, width);
  else if (width >= FEW) across<FEW, P, STRIDE>(t, width);
  else across<1, P, STRIDE>(t, width);
}

inline void row(const Tile& t, int64_t width, int64_t stride, int panels) {
  if (NP == 2 && panels == 2) stride == 1 ? row_of<NP, 1>(t, width) : row_of<NP, 2>(t, width);
  else stride == 1 ? row_of<1, 1>(t, width) : row_of<1, 2>(t, width);
}

struct Strip {
  const int64_t* p;
  float* at;  // [C][height][phases][pitch]
  int64_t height, phases, row_floats;

  Strip(const int64_t* p_, float* at_)
      : p(p_), at(at_), height((p[ROWS] - 1) * p[SH] + (p[KH] - 1) * p[DH] + 1), phases(p[LANES] ? p[SW] : 1), row_floats(phases * p[PITCH]) {}

  // Offsets of the taps, in the order of the weights: (kh, kw, channel).
  void offsets(int64_t* to) const {
    for (int64_t kh = 0; kh < p[KH]; kh++)
      for (int64_t kw = 0; kw < p[KW]; kw++)
        for (int64_t c = 0; c < p[C]; c++)
          *to++ = (c * height + kh * p[DH]) * row_floats + kw * p[DW] % phases * p[PITCH] + kw * p[DW] / phases;
  }

  // What output rows from `oh` on need.
  void fill(const float* image, int64_t oh) const {
    const int64_t first = oh * p[SH] - p[PH], n = clip(p[PITCH] - p[PW], 0, p[W]);
    for (int64_t c = 0; c < p[C]; c++)
      for (int64_t r = 0; r < height; r++) {
        float* to = at + (c * height + r) * row_floats;
        if (first + r < 0 || first + r >= p[H]) zero_floats(to, row_floats);
        else if (phases == 2) halve(image + (c * p[H] + first + r) * p[W], to);
        else copy_run(to, image + (c * p[H] + first + r) * p[W] - p[PW], 0, p[PITCH], p[PW], p[PW] + n);
      }
  }

  // A row of the image with zeros around it: its even columns, then its odd ones.
  void halve(const float* from, float* to) const {
    for (int64_t phase = 0; phase < 2; phase++, to += p[PITCH]) {
      const int64_t low = clip((p[PW] - phase + 1) / 2, 0, p[PITCH]), high = clip((p[W] + p[PW] - phase + 1) / 2, low, p[PITCH]);
      const float* x = from + 2 * low + phase - p[PW];
      zero_floats(to, low);
      int64_t i = low;
      for (; i + VL < high; i += VL, x += 2 * VL) store(to + i, evens(load(x), load(x + VL)));  // the row has a float behind these
      if (i < high) {
        const int left = (int)(2 * (high - i) - 1), more = left - VL;
        const vf a = more < 0 ? load_n(x, left) : load(x), b = more > 0 ? load_n(x + VL, more) : vf{};
        if (high - i == VL) store(to + i, evens(a, b));
        else store_n(to + i, evens(a, b), (int)(high - i));
      }
      zero_floats(to + high, p[PITCH] - high);
    }
  }
};

// Rows [oh0, oh1) of the outputs of a panel, in NCHW.
void panel_of_pixels(const int64_t* p, const Strip& strip, PixelTile t, int64_t oh0, int64_t oh1, float* y) {
  const PixelTile all = t;
  for (int first = 0; first < all.outputs; first += ROWS_OUT) {
    t.w = all.w + first;
    t.bias = all.bias + first;
    t.scale = all.scale ? all.scale + first : nullptr;
    t.outputs = (int)clip(all.outputs - first, 0, ROWS_OUT);
    for (int64_t oh = oh0; oh < oh1; oh++) {
      t.x = strip.at + (oh - oh0) * p[SH] * strip.row_floats;
      t.y = y + first * t.ldy + oh * p[OW];
      pixel_row(t);
    }
  }
}

void strips(const ThinCall* call, int64_t begin, int64_t end, Decode decode) {
  const int64_t* p = call->p;
  const Packed packed{(const char*)call->buf[1], p + PACKED};
  float* scratch = (float*)call->scratch;
  const Strip strip(p, scratch);
  int64_t* offsets = (int64_t*)(scratch + p[OFFSETS_AT]);
  const int64_t taps = p[KH] * p[KW] * p[C], panels = (p[N] + PANEL - 1) / PANEL, blocks = (p[OH] + p[ROWS] - 1) / p[ROWS];
  strip.offsets(offsets);
  float* decoded = scratch + p[DECODED_AT];
  const int64_t decoded_panel = taps * PANEL;
  for (int64_t panel = 0; decode && p[KEPT] && panel < panels; panel++) decode(packed, panel, 0, taps, decoded + panel * decoded_panel);
  Tile t;
  t.offsets = offsets;
  t.k = taps;
  t.ldy = p[N];
  t.low = thin_f32(p[LOW]);
  t.high = thin_f32(p[HIGH]);
  for (int64_t item = begin; item < end; item++) {
    const int64_t image = item / blocks, oh0 = item % blocks * p[ROWS], oh1 = clip(oh0 + p[ROWS], 0, p[OH]);
    strip.fill((const float*)call->buf[0] + image * p[C] * p[H] * p[W], oh0);
    for (int64_t panel = 0; panel < panels; panel += NP) {
      const int count = panels - panel < NP ? 1 : NP;
      for (int i = 0; decode && !p[KEPT] && i < count; i++) decode(packed, panel + i, 0, taps, decoded + i * decoded_panel);
      t.w = decode ? decoded + (p[KEPT] ? panel * decoded_panel : 0) : (const float*)packed.panel(panel);
      t.outputs = (int)clip(p[N] - panel * PANEL, 0, count * PANEL);
      t.scale = packed.scale(panel);
      t.bias = (const float*)call->buf[2] + panel * PANEL;
      if (p[LANES]) {
        for (int i = 0; i < count; i++) {
          const int64_t output = (panel + i) * PANEL, plane = p[OH] * p[OW];
          const PixelTile own = {nullptr, offsets, t.w + i * decoded_panel, taps, p[OW], nullptr, plane, (int)clip(p[N] - output, 0, PANEL),
                                 packed.scale(panel + i), t.bias + i * PANEL, t.low, t.high};
          panel_of_pixels(p, strip, own, oh0, oh1, (float*)call->buf[3] + (image * p[N] + output) * plane);
        }
        continue;
      }
      for (int64_t oh = oh0; oh < oh1; oh++) {
        t.x = strip.at + (oh - oh0) * p[SH] * p[PITCH];
        t.y = (float*)call->buf[3] + (image * p[OH] + oh) * p[OW] * p[N] + panel * PANEL;
        row(t, p[OW], p[SW], count);
      }
    }
  }
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per image × block of rows of the output. Scratch: the strip, offsets
// of the taps, decoded panels.
THIN_KERNEL(conv_planes_f32) { strips(call, begin, end, nullptr); }
THIN_KERNEL(conv_planes_f16) { strips(call, begin, end, decode_half); }
THIN_KERNEL(conv_planes_codebook) { strips(call, begin, end, decode_codebook); }
