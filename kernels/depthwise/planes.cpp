// Depthwise convolution in NCHW: the columns of a row in lanes, so that a tap is one number times a vector of activations.
//
// 3 × 3 taps are read from the image itself (slide.h, narrow.h), and 5 × 5 where rows are narrow. Else a strip of a channel's rows is copied
// to scratch with its padding, columns dealt out by their remainder of the stride, so that the loop over taps reads vectors without
// asking where the image ends.
#include "../gemm/gather.h"
#include "expand.h"
#include "narrow.h"
#include "shuffle.h"
#include "slide.h"
#include "strides.h"
#include "taps.h"

namespace {

constexpr int HIGH_TILE = 4;  // rows of the output that are summed together: each activation serves all of them

// A strip in scratch: [row][remainder of the column][pitch]. Column q of the padded image lies in row q % SW at shift + q / SW.
struct Strip {
  const int64_t* p;
  float* at;
  int64_t shift;  // puts column 0 of the image at a multiple of the vectors where the stride is 1

  Strip(const int64_t* p_, float* at_) : p(p_), at(at_), shift(p[SW] == 1 ? -p[PW] & (PANEL - 1) : 0) {}

  int64_t height(int64_t rows) const { return (rows - 1) * p[SH] + (p[KH] - 1) * p[DH] + 1; }
  int64_t row_floats() const { return p[SW] * p[PITCH]; }

  // Where tap (kh, kw) of the first output of row r lies.
  const float* tap(int64_t r, int64_t kh, int64_t kw) const {
    const int64_t column = kw * p[DW];
    return at + (r * p[SH] + kh * p[DH]) * row_floats() + column % p[SW] * p[PITCH] + shift + column / p[SW];
  }

  // Zeros that copying rows leaves alone: what is left and right of the image.
  void clear() const { zero_floats(at, height(p[STRIP]) * row_floats()); }

  // The rows that output rows [oh, oh + rows) need. Columns that no output needs are left out: they might lie past the pitch.
  void fill(const float* plane, int64_t oh, int64_t rows) const {
    const int64_t first = oh * p[SH] - p[PH], needed = clip((p[OW] - 1) * p[SW] + (p[KW] - 1) * p[DW] + 1 - p[PW], 0, p[W]);
    for (int64_t r = 0; r < height(rows); r++) {
      float* to = at + r * row_floats();
      if (first + r < 0 || first + r >= p[H]) zero_floats(to, row_floats());
      else deal(plane + (first + r) * p[W], needed, to);
    }
  }

  void deal(const float* from, int64_t n, float* to) const {
    if (p[SW] == 1) return copy_floats(to + shift + p[PW], from, n);
    if (p[SW] == 2) return halve(from, n, to + p[PW] % 2 * p[PITCH] + p[PW] / 2, to + (p[PW] + 1) % 2 * p[PITCH] + (p[PW] + 1) / 2);
    for (int64_t i = 0; i < n; i++) to[(i + p[PW]) % p[SW] * p[PITCH] + (i + p[PW]) / p[SW]] = from[i];
  }

  // The row's last vectors are followed by zeros: so is the image.
  static void halve(const float* from, int64_t n, float* even, float* odd) {
    for (int64_t i = 0; i < n; i += 2 * VL) {
      const vf a = part(from + i, n - i), b = part(from + i + VL, n - i - VL);
      store(even + i / 2, evens(a, b));
      store(odd + i / 2, odds(a, b));
    }
  }

  static vf part(const float* from, int64_t left) { return left >= VL ? load(from) : left > 0 ? load_n(from, (int)left) : vf{}; }
};

// R rows of the output × all columns, a vector of them at a time; the last one may overlap the one before. K × K taps with stride S: each
// activation is loaded once for all rows that it belongs to. FULL: the output is at least a vector wide.
template <int R, int K, int S, bool FULL>
inline void across(const vf (&taps)[K * K], const Strip& strip, int64_t r, const Finish& finish, float* y) {
  const int64_t width = strip.p[OW], last = FULL ? width - VL : 0, pitch = strip.p[PITCH], row_floats = strip.row_floats();
  const float* from = strip.tap(r, 0, 0);
  const vf bias = finish.bias, low = finish.low, high = finish.high;
  vf w[K * K];
#pragma GCC unroll 32
  for (int i = 0; i < K * K; i++) w[i] = taps[i];
  y += r * width;
  for (int64_t ow = 0; ow < width; ow += VL) {
    const int64_t at = ow < last ? ow : last;
    const float* x = from + at;
    vf sum[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) sum[i] = bias;
#pragma GCC unroll 16
    for (int row = 0; row < (R - 1) * S + K; row++, x += row_floats)
#pragma GCC unroll 8
      for (int kw = 0; kw < K; kw++) {
        const vf value = kept(load(x + kw % S * pitch + kw / S));
#pragma GCC unroll 8
        for (int i = 0; i < R; i++)
          if (row >= i * S && row < i * S + K) sum[i] += value * w[(row - i * S) * K + kw];
      }
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      if (FULL) store(y + i * width + at, clamped(sum[i], low, high));
      else store_n(y + i * width, clamped(sum[i], low, high), finish.lanes);
    }
  }
}

template <int K, int S, bool FULL>
void down(const vf (&w)[K * K], const Strip& strip, int64_t rows, const Finish& finish, float* y) {
  int64_t r = 0;
  for (; r + HIGH_TILE <= rows; r += HIGH_TILE) across<HIGH_TILE, K, S, FULL>(w, strip, r, finish, y);
  if (rows - r == 3) across<3, K, S, FULL>(w, strip, r, finish, y);
  if (rows - r == 2) across<2, K, S, FULL>(w, strip, r, finish, y);
  if (rows - r == 1) across<1, K, S, FULL>(w, strip, r, finish, y);
}

template <int K, int S>
void square(const Strip& strip, const float* taps, int64_t rows, const Finish& finish, float* y) {
  vf w[K * K];
  for (int i = 0; i < K * K; i++) w[i] = splat(taps[i * PANEL]);
  strip.p[OW] < VL ? down<K, S, false>(w, strip, rows, finish, y) : down<K, S, true>(w, strip, rows, finish, y);
}

// Any kernel, stride and dilation: one row at a time.
void any(const Strip& strip, const float* taps, int64_t rows, const Finish& finish, float* y) {
  const int64_t* p = strip.p;
  const int64_t width = p[OW], last = width > VL ? width - VL : 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t ow = 0; ow < width; ow += VL) {
      const int64_t at = ow < last ? ow : last;
      vf sum = finish.bias;
      for (int64_t kh = 0; kh < p[KH]; kh++)
        for (int64_t kw = 0; kw < p[KW]; kw++) sum += load(strip.tap(r, kh, kw) + at) * taps[(kh * p[KW] + kw) * PANEL];
      sum = clamped(sum, finish.low, finish.high);
      if (finish.lanes == VL) store(y + r * width + at, sum);
      else store_n(y + r * width, sum, finish.lanes);
    }
}

typedef void (*Rows)(const Strip& strip, const float* taps, int64_t rows, const Finish& finish, float* y);

Rows choose(const int64_t* p) {
  if (p[KH] != p[KW] || p[SH] != p[SW] || p[DH] != 1 || p[DW] != 1) return any;
  if (p[KW] == 5 && p[SW] == 1) return square<5, 1>;
  if (p[KW] == 5 && p[SW] == 2) return square<5, 2>;
  return any;
}

// Filters rows of one channel's output.
struct Filter {
  const ThinCall* call;
  const int64_t* p = call->p;
  const Packed packed{(const char*)call->buf[1], p + PACKED};
  Decode decode;
  Rows rows = choose(p);
  NarrowFn narrow_rows = choose_narrow(p);
  decltype(choose_wide(p)) wide_rows = choose_wide(p);
  float* w = (float*)call->scratch;
  Strip strip{p, w + p[KH] * p[KW] * PANEL};

  Filter(const ThinCall* call_, Decode decode_) : call(call_), decode(decode_) {
    if (!wide_rows && !narrow_rows) strip.clear();
  }

  void taps_of(int64_t panel) const { taps(packed, panel, p[KH] * p[KW], decode, w); }

  // x: [H][W], y: the first of n rows from oh on. The taps of the channel's panel are those in w.
  void run(int64_t channel, const float* x, int64_t oh, int64_t n, float* y) const {
    const float bias = ((const float*)call->buf[2])[channel], low = thin_f32(p[LOW]), high = thin_f32(p[HIGH]);
    const float* at = w + channel % PANEL;
    const Finish finish{splat(bias), splat(low), splat(high), (int)(p[OW] < VL ? p[OW] : VL)};
    if (wide_rows) return wide_rows({p, x, at, y, oh, n, finish});
    if (narrow_rows) return narrow_rows({p, x, y, at, oh, n, bias, low, high});
    strip.fill(x, oh, n);
    rows(strip, at, n, finish, y);
  }

  float* y_of(int64_t image, int64_t channel, int64_t oh) const { return (float*)call->buf[3] + ((image * p[C] + channel) * p[OH] + oh) * p[OW]; }
};

void items(const ThinCall* call, int64_t begin, int64_t end, Decode decode) {
  const int64_t* p = call->p;
  const Filter filter(call, decode);
  for (int64_t i = begin; i < end; i++) {
    const Item item(p, i);
    for (int64_t channel = item.first * PANEL; channel < p[C] && channel < item.last * PANEL; channel++) {
      if (channel % PANEL == 0) filter.taps_of(channel / PANEL);
      const float* x = (const float*)call->buf[0] + (item.image * p[C] + channel) * p[H] * p[W];
      for (int64_t oh = item.oh0; oh < item.oh1; oh += p[STRIP])
        filter.run(channel, x, oh, smaller(item.oh1 - oh, p[STRIP]), filter.y_of(item.image, channel, oh));
    }
  }
}

// Floats of an input plane that rows [oh, oh + n) of the output read: from `first` on.
struct Reach {
  int64_t first, end;
  Reach(const int64_t* p, int64_t oh, int64_t n) {
    const int64_t top = oh * p[SH] - p[PH];
    first = clip(top, 0, p[H]) * p[W];
    end = clip(top + (n - 1) * p[SH] + (p[KH] - 1) * p[DH] + 1, 0, p[H]) * p[W];
  }
};

// These of all planes, `pitch` floats apart, each at a multiple of the vectors. Where the first float of the first plane would be.
const float* copied(const float* x, int64_t planes, int64_t floats, int64_t pitch, const Reach& part, float* to) {
  for (int64_t c = 0; c < planes; c++) copy_floats(to + c * pitch, x + c * floats + part.first, part.end - part.first);
  return to - part.first;
}

constexpr Decode DECODERS[] = {decode_float, decode_half, decode_codebook};

template <class Weights>
void expanded(const ThinCall* call, int64_t begin, int64_t end) {
  const int64_t* p = call->p;
  const int64_t* q = p + PACKED + W_PARAMS;
  const Filter filter(call, DECODERS[q[TAPS]]);
  const RowTiles* m = (const RowTiles*)call->buf[4];
  float* planes = filter.strip.at + filter.strip.height(p[STRIP]) * filter.strip.row_floats();
  Expand e = {m, nullptr, q[X_COPY] ? q[X_COPY] : q[X_PLANE], (const float*)call->buf[5], (const float*)call->buf[6], splat(thin_f32(q[E_LOW])),
              splat(thin_f32(q[E_HIGH]))};
  int64_t image = -1, row = -1, origin = 0;  // a float of a plane that lies at a multiple of the vectors
  for (int64_t i = begin + q[FIRST]; i < end + q[FIRST]; i++) {
    const Item item(p, i);
    if (item.image != image || item.oh0 != row) {
      image = item.image, row = item.oh0;
      const Reach all(p, row, item.oh1 - row);
      e.x = (const float*)call->buf[0] + image * m->columns * q[X_PLANE];
      if (q[X_COPY]) {
        e.x = copied(e.x, m->columns, q[X_PLANE], q[X_COPY], all, planes + q[TOGETHER] * q[PLANE]);
        origin = all.first;
      }
    }
    for (int64_t panel = item.first; panel < item.last; panel++) {
      filter.taps_of(panel);
      const StartOfChunk* start = (const StartOfChunk*)(m->base() + m->starts) + panel;
      const RowOfChunk* list = (const RowOfChunk*)(m->base() + m->lists) + start->row;
      const int64_t rows = start[1].row - start->row;
      for (int64_t oh = item.oh0; oh < item.oh1; oh += p[STRIP]) {
        const int64_t n = smaller(item.oh1 - oh, p[STRIP]);
        const Reach reach(p, oh, n);
        const int64_t first = origin + (reach.first - origin) / PANEL * PANEL, stop = origin + (reach.end - origin + PANEL - 1) / PANEL * PANEL;
        int64_t weight = start->weight;
        for (int64_t r = 0; r < rows; r += q[TOGETHER]) {
          const int64_t some = smaller(rows - r, q[TOGETHER]);
          for (int64_t k = 0; k < some; weight += list[r + k++].count)
            expand_plane<Weights>(e, weight, list[r + k].count, panel * PANEL + list[r + k].row, first, stop, planes + k * q[PLANE]);
          for (int64_t k = 0; k < some; k++) {
            const int64_t channel = panel * PANEL + list[r + k].row;
            float* y = (float*)call->buf[3] + (image * p[C] + channel) * q[Y_PLANE] + (oh - q[Y_ROW]) * p[OW];
            filter.run(channel, planes + k * q[PLANE] - first, oh, n, y);
          }
        }
      }
    }
  }
}

}  // namespace

// buf: x, packed weights, bias [panels * 16], y. p: Param. One work item per image × block of rows × chunk of panels. Scratch: the
// decoded taps of a panel, then a strip.
THIN_KERNEL(depthwise_planes_f32) { items(call, begin, end, decode_float); }
THIN_KERNEL(depthwise_planes_f16) { items(call, begin, end, decode_half); }
THIN_KERNEL(depthwise_planes_codebook) { items(call, begin, end, decode_codebook); }

// The same of planes that a sparse 1 × 1 convolution makes (expand.h). buf: as above, x being what that reads; its weight, f32, f16 or codebook, in the layout rows of the
// sparse family, in tiles of a panel and one chunk of columns; its scale and bias [channels]. p: Param, ExpandParam. Scratch: further the
// expanded planes, and a copy of x.
THIN_KERNEL(depthwise_expanded_f32) { expanded<FloatWeights>(call, begin, end); }
THIN_KERNEL(depthwise_expanded_f16) { expanded<HalfWeights>(call, begin, end); }
THIN_KERNEL(depthwise_expanded_codebook) { expanded<SymbolWeights>(call, begin, end); }
