// Depthwise convolution in NHWC: channels in lanes, so that a tap is one vector of weights times one vector of activations.
#include "rolling.h"
#include "clamp.h"
#include "taps.h"
#if defined(__aarch64__)
#include "rows_neon.h"
#endif

namespace {

constexpr int WIDE = 8, NARROW = 4;  // output pixels that are summed together

// One vector of channels of one image.
struct Channels {
  const int64_t* p;
  const float* x;  // [H][W][C], at the first of these channels
  float* y;        // [OH][OW][C], likewise
  const float* w;  // [KH][KW][16]: decoded, times the channel's scale
  vf bias, low, high;
  int lanes;       // channels in the vector

  template <bool FULL>
  vf read(const float* at) const {
    return FULL ? load(at) : load_n(at, lanes);
  }
  template <bool FULL>
  void write(float* at, vf sum) const {
    sum = clamped(sum, low, high);
    if (FULL) store(at, sum);
    else store_n(at, sum, lanes);
  }
};

// The rows of the kernel that lie inside the image for one row of the output, and where they begin.
struct Line {
  int64_t oh, first, last, ih;  // kernel rows [first, last); input row of kernel row 0, perhaps outside
  Line(const int64_t* p, int64_t oh_) : oh(oh_), first(0), last(p[KH]), ih(oh_ * p[SH] - p[PH]) {
    while (first < last && ih + first * p[DH] < 0) first++;
    while (last > first && ih + (last - 1) * p[DH] >= p[H]) last--;
  }
};

// N pixels of a row from `ow` on. Kernel width and stride are known, so each activation is loaded once and used for every pixel
// that it belongs to. CHECKED: some columns lie left or right of the image.
template <int N, int WIDTH, int STRIDE, bool FULL, bool CHECKED>
inline void pixels_of(const Channels& c, const Line& line, int64_t ow) {
  const int64_t* p = c.p;
  const int64_t step = p[C], iw = ow * STRIDE - p[PW];
  vf sum[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) sum[i] = c.bias;
  for (int64_t kh = line.first; kh < line.last; kh++) {
    const float* at = c.x + ((line.ih + kh * p[DH]) * p[W] + iw) * step;
    vf w[WIDTH];
#pragma GCC unroll 8
    for (int k = 0; k < WIDTH; k++) w[k] = load(c.w + (kh * WIDTH + k) * PANEL);
#pragma GCC unroll 32
    for (int column = 0; column < (N - 1) * STRIDE + WIDTH; column++, at += step) {
      if (CHECKED && (uint64_t)(iw + column) >= (uint64_t)p[W]) continue;
      const vf x = kept(c.read<FULL>(at));
#pragma GCC unroll 8
      for (int i = 0; i < N; i++)
        if (column >= i * STRIDE && column < i * STRIDE + WIDTH) sum[i] += x * w[column - i * STRIDE];
    }
  }
  float* y = c.y + (line.oh * p[OW] + ow) * step;
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) c.write<FULL>(y + i * step, sum[i]);
}

// The same for any kernel width, stride and dilation.
template <int N, bool FULL, bool CHECKED>
inline void pixels_any(const Channels& c, const Line& line, int64_t ow) {
  const int64_t* p = c.p;
  vf sum[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) sum[i] = c.bias;
  for (int64_t kh = line.first; kh < line.last; kh++) {
    int64_t iw = ow * p[SW] - p[PW];
    const float* row = c.x + (line.ih + kh * p[DH]) * p[W] * p[C];
    for (int64_t kw = 0; kw < p[KW]; kw++, iw += p[DW]) {
      const vf w = load(c.w + (kh * p[KW] + kw) * PANEL);
#pragma GCC unroll 8
      for (int i = 0; i < N; i++) {
        const int64_t column = iw + i * p[SW];
        if (!CHECKED || (uint64_t)column < (uint64_t)p[W]) sum[i] += c.read<FULL>(row + column * p[C]) * w;
      }
    }
  }
  float* y = c.y + (line.oh * p[OW] + ow) * p[C];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) c.write<FULL>(y + i * p[C], sum[i]);
}

template <int N, int WIDTH, int STRIDE, bool FULL>
inline void pixels(const Channels& c, const Line& line, int64_t ow) {
  const int64_t* p = c.p;
  const int64_t first = ow * p[SW] - p[PW], last = first + (N - 1) * p[SW] + (p[KW] - 1) * p[DW];
  const bool inside = first >= 0 && last < p[W];
  if constexpr (WIDTH == 0 || N == 1) inside ? pixels_any<N, FULL, false>(c, line, ow) : pixels_any<N, FULL, true>(c, line, ow);
  else if (inside) pixels_of<N, WIDTH, STRIDE, FULL, false>(c, line, ow);
  else pixels_of<N, WIDTH, STRIDE, FULL, true>(c, line, ow);
}

// A row of the output in tiles of N pixels; the last tile may overlap the one before.
template <int N, int WIDTH, int STRIDE, bool FULL>
inline void tiles(const Channels& c, const Line& line, int64_t first, int64_t last) {
  for (int64_t ow = first; ow < last; ow += N) pixels<N, WIDTH, STRIDE, FULL>(c, line, ow + N <= last ? ow : last - N);
}

template <int WIDTH, int STRIDE, bool FULL>
void rows(const Channels& c, int64_t oh0, int64_t oh1) {
  const int64_t width = c.p[OW], wide = width < WIDE ? 0 : width % WIDE <= NARROW ? width / WIDE * WIDE : width;
  for (int64_t oh = oh0; oh < oh1; oh++) {
    const Line line(c.p, oh);
    tiles<WIDE, WIDTH, STRIDE, FULL>(c, line, 0, wide);
    if (width < NARROW) tiles<1, WIDTH, STRIDE, FULL>(c, line, 0, width);
    else tiles<NARROW, WIDTH, STRIDE, FULL>(c, line, wide, width);
  }
}

template <int WIDTH, int STRIDE>
void rows_of(const Channels* c, int vectors, int64_t oh0, int64_t oh1) {
  for (int v = 0; v < vectors; v++) c[v].lanes == VL ? rows<WIDTH, STRIDE, true>(c[v], oh0, oh1) : rows<WIDTH, STRIDE, false>(c[v], oh0, oh1);
}

#if defined(__aarch64__)

// The last pixels may overlap those before. All vectors of a cache line one after another: where pixels are far apart, it would not stay in L1.
template <int S>
void roll_all(const Channels* c, int vectors, int64_t oh0, int64_t oh1) {
  const int64_t* p = c->p;
  const int64_t width = p[OW], top = oh0 * S - p[PH];
  const bool above = top >= 0, below = top + (oh1 - oh0 - 1) * S + 2 < p[H];
  const int full = c[vectors - 1].lanes == VL ? vectors : vectors - 1;
  for (int64_t next = 0; next < width; next += ABREAST) {
    const int64_t ow = next + ABREAST <= width ? next : width - ABREAST, iw = ow * S - p[PW];
    const bool left = iw < 0, right = iw + (ABREAST - 1) * S + 2 >= p[W];
    const auto go = left ? right ? go_down<S, true, true> : go_down<S, true, false> : right ? go_down<S, false, true> : go_down<S, false, false>;
    for (int v = 0; v < full; v++) {
      const float* x = c[v].x + (top * p[W] + iw) * p[C];
      float* y = c[v].y + (oh0 * p[OW] + ow) * p[C];
      go({x, p[W] * p[C], y, p[OW] * p[C], p[C], c[v].w, c[v].bias, c[v].low, c[v].high}, above, below, oh1 - oh0);
    }
  }
  if (full < vectors) rows<3, S, false>(c[full], oh0, oh1);
}

#elif defined(__AVX2__)

#if defined(__AVX512F__)
constexpr int ABREAST = 7;  // pixels that roll down together: 21 of 32 registers hold their sums, 9 the taps
#else
constexpr int ABREAST = 4;  // 12 of 16 hold sums, taps come from memory
#endif

template <int S, bool FULL>
[[gnu::noinline]] void roll_pixels(const Channels& c, int64_t oh0, int64_t oh1, int64_t ow) {
  const int64_t* p = c.p;
  const int64_t step = p[C], top = oh0 * S - p[PH], iw = ow * S - p[PW];
  const bool left = iw < 0, right = iw + (ABREAST - 1) * S + 2 >= p[W];  // the first and the last column lie outside
  const vf bias = c.bias;
  const float* x = c.x + (top * p[W] + iw) * step;
  float* y = c.y + (oh0 * p[OW] + ow) * step;
  const int64_t down = p[W] * step, out = p[OW] * step;
  vf w[9], sum[3][ABREAST];
#pragma GCC unroll 16
  for (int i = 0; i < 9; i++) w[i] = load(c.w + i * PANEL);
#pragma GCC unroll 16
  for (int i = 0; i < ABREAST; i++) sum[0][i] = sum[1][i] = sum[2][i] = bias;
  const auto add = [&](bool to0, bool to1, bool to2) __attribute__((always_inline)) {
    constexpr int COLUMNS = (ABREAST - 1) * S + 3;
    const float* at = x;
#pragma GCC unroll 32
    for (int column = 0; column < COLUMNS; column++, at += step) {
      if ((column == 0 && left) || (column == COLUMNS - 1 && right)) continue;
      const vf value = kept(c.read<FULL>(at));
#pragma GCC unroll 16
      for (int i = 0; i < ABREAST; i++) {
        const int k = column - i * S;
        if (k < 0 || k > 2) continue;
        if (to0) sum[0][i] += value * w[k];
        if (to1) sum[1][i] += value * w[3 + k];
        if (to2) sum[2][i] += value * w[6 + k];
      }
    }
    x += down;
  };
  const auto next = [&](int from) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < ABREAST; i++) {
      sum[from + 1][i] = sum[from][i];
      if (from == 0) sum[0][i] = bias;
    }
  };
  const auto write = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < ABREAST; i++) c.write<FULL>(y + i * step, sum[2][i]);
    y += out;
  };
  const bool above = top >= 0, below = top + (oh1 - oh0 - 1) * S + 2 < p[H];
  roll<S>(oh1 - oh0, above, below, add, next, write, [&]() __attribute__((always_inline)) { x += down; });
}

// The last pixels may overlap those before. All vectors of a cache line one after another: where pixels are far apart, it would not stay in L1.
template <int S>
void roll_all(const Channels* c, int vectors, int64_t oh0, int64_t oh1) {
  const int64_t width = c->p[OW];
  for (int64_t ow = 0; ow < width; ow += ABREAST) {
    const int64_t at = ow + ABREAST <= width ? ow : width - ABREAST;
    for (int v = 0; v < vectors; v++) c[v].lanes == VL ? roll_pixels<S, true>(c[v], oh0, oh1, at) : roll_pixels<S, false>(c[v], oh0, oh1, at);
  }
}

#endif

// A panel's vectors of channels.
typedef void (*Rows)(const Channels* c, int vectors, int64_t oh0, int64_t oh1);

Rows choose(const int64_t* p) {
#if defined(__AVX2__) || defined(__aarch64__)
  // Where few pixels are done twice. One row of image may lack both neighbours.
  if (rolls(p) && p[H] > 1 && p[OW] >= ABREAST && (p[OW] + ABREAST - 1) / ABREAST * ABREAST * 4 <= p[OW] * 5) return p[SW] == 1 ? roll_all<1> : roll_all<2>;
#endif
  if (p[DW] == 1 && p[KW] == 3 && p[SW] == 1) return rows_of<3, 1>;
  if (p[DW] == 1 && p[KW] == 3 && p[SW] == 2) return rows_of<3, 2>;
  if (p[DW] == 1 && p[KW] == 5 && p[SW] == 1) return rows_of<5, 1>;
  if (p[DW] == 1 && p[KW] == 5 && p[SW] == 2) return rows_of<5, 2>;
  return rows_of<0, 0>;
}

// With activations that are not finite: tap by tap, since an absent one must not see any.
void one_by_one(const Channels& c, int64_t oh0, int64_t oh1) {
  const int64_t* p = c.p;
  for (int64_t oh = oh0; oh < oh1; oh++)
    for (int64_t ow = 0; ow < p[OW]; ow++)
      for (int lane = 0; lane < c.lanes; lane++) {
        float sum = c.bias[lane];
        for (int64_t tap = 0; tap < p[KH] * p[KW]; tap++) {
          const int64_t ih = oh * p[SH] - p[PH] + tap / p[KW] * p[DH], iw = ow * p[SW] - p[PW] + tap % p[KW] * p[DW];
          const float w = c.w[tap * PANEL + lane];
          if (ih >= 0 && ih < p[H] && iw >= 0 && iw < p[W] && !is_absent(w)) sum += w * c.x[(ih * p[W] + iw) * p[C] + lane];
        }
        c.y[(oh * p[OW] + ow) * p[C] + lane] = sum < c.low[0] ? c.low[0] : sum > c.high[0] ? c.high[0] : sum;
      }
}

void items(const ThinCall* call, int64_t begin, int64_t end, Decode decode) {
  const int64_t* p = call->p;
  const Packed packed{(const char*)call->buf[1], p + PACKED};
  const Rows rows = choose(p);
  float* w = (float*)call->scratch;
  for (int64_t i = begin; i < end; i++) {
    const Item item(p, i);
    const int64_t image = item.image, size = p[H] * p[W] * p[C];
    const bool is_finite = decode != decode_tiles<NOTHING> || !has_absent(packed) || all_finite((const float*)call->buf[0] + image * size, size);
    for (int64_t panel = item.first; panel < item.last; panel++) {
      taps(packed, panel, p[KH] * p[KW], is_finite ? decode : decode_tiles<MARK>, w);
      Channels c[NV];
      int vectors = 0;
      for (int64_t channel = panel * PANEL; channel < p[C] && channel < (panel + 1) * PANEL; channel += VL) {
        Channels& some = c[vectors++];
        some.p = p;
        some.x = (const float*)call->buf[0] + image * size + channel;
        some.y = (float*)call->buf[3] + image * p[OH] * p[OW] * p[C] + channel;
        some.w = w + channel % PANEL;
        some.bias = load((const float*)call->buf[2] + channel);
        some.low = splat(thin_f32(p[LOW]));
        some.high = splat(thin_f32(p[HIGH]));
        some.lanes = (int)(p[C] - channel < VL ? p[C] - channel : VL);
      }
      if (is_finite) rows(c, vectors, item.oh0, item.oh1);
      for (int v = 0; v < vectors && !is_finite; v++) one_by_one(c[v], item.oh0, item.oh1);
    }
  }
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per image × block of rows × chunk of panels. Scratch: the
// decoded taps of a panel.
THIN_KERNEL(depthwise_f32) { items(call, begin, end, decode_float); }
THIN_KERNEL(depthwise_f16) { items(call, begin, end, decode_half); }
THIN_KERNEL(depthwise_codebook) { items(call, begin, end, decode_codebook); }
THIN_KERNEL(depthwise_tiles) { items(call, begin, end, decode_tiles<NOTHING>); }
