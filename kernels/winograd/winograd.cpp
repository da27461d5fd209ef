// y = clamp(x * w + bias) for 3 × 3 convolutions of stride 1, by Winograd's minimal filtering: few multiplications on transformed tiles.
#include "../gemm/tiles.h"
#include "product.h"
#include "transforms.h"

namespace {

enum Param {
  H, W, C, OH, OW, N,    // input, output
  TOP, LEFT,             // padding
  DOWN, ACROSS, TILES,   // tiles of an image, and of all images
  BLOCK, CHUNK,          // tiles and panels of a work item, at most
  LOW, HIGH,             // floats
  PASS,                  // encoded weights: channels that are decoded and transformed at a time
  TAP_MAJOR,             // 1: decoded weights are [tap][channel][16], 0: [channel][tap][16]
  PACKED                 // PackedParam of encoded weights
};

typedef void (*Decode)(const Packed& w, int64_t panel, int64_t k0, int64_t n, float* out);

// E × E outputs of a tile from IN × IN inputs. Scratch: transformed inputs [POINTS][BLOCK][ldx], products [POINTS][BLOCK][CHUNK * 16],
// a tile that reaches outside of the image [POINTS][ldx]; ldx floats are C, filled up to whole vectors, and a line, so that rows do not
// lie a power of two apart. Encoded weights also: transformed ones [MOST_PANELS][POINTS][PASS + 1][16], decoded ones [9 * PASS][16].
template <int E>
struct Convolution {
  static constexpr int IN = E + 2, POINTS = IN * IN;
  const ThinCall* call;
  Decode decode, decode_marked;  // of encoded weights; the latter tells absent ones (MARK). nullptr: weights are transformed already
  const int64_t* p = call->p;
  int64_t ldx = (p[C] + PANEL - 1) / PANEL * PANEL + PANEL, ldy = p[CHUNK] * PANEL;
  float *inputs = (float*)call->scratch, *sums = inputs + POINTS * p[BLOCK] * ldx, *copy = sums + POINTS * p[BLOCK] * ldy;
  const float* weights = (const float*)call->buf[1];
  Packed packed{(const char*)call->buf[1], p + PACKED};
  float *transformed = copy + POINTS * ldx, *decoded = transformed + MOST_PANELS * POINTS * ldw();

  int64_t ldw() const { return (p[PASS] + 1) * PANEL; }  // floats from point to point of transformed weights

  // Upper left corner of a tile's outputs, and its image.
  struct Place {
    int64_t image, y, x;
  };
  Place place(int64_t tile) const {
    const int64_t row = tile / p[ACROSS];
    return {row / p[DOWN], row % p[DOWN] * E, tile % p[ACROSS] * E};
  }
  const float* pixel(const Place& at, int64_t y, int64_t x) const {
    return (const float*)call->buf[0] + ((at.image * p[H] + y) * p[W] + x) * p[C];
  }
  bool inside(int64_t y, int64_t x) const { return y >= 0 && y < p[H] && x >= 0 && x < p[W]; }

  // Input tile as whole vectors of channels, zeros outside of the image.
  void copy_tile(const Place& at) const {
    for (int i = 0; i < IN; i++)
      for (int j = 0; j < IN; j++) {
        float* to = copy + (i * IN + j) * ldx;
        const int64_t y = at.y - p[TOP] + i, x = at.x - p[LEFT] + j;
        const float* from = inside(y, x) ? pixel(at, y, x) : nullptr;
        for (int64_t c = 0; c < p[C]; c += VL) {
          const int64_t left = p[C] - c;
          store(to + c, !from ? vf{} : left >= VL ? load(from + c) : load_n(from + c, (int)left));
        }
      }
  }

  void transform_inputs(int64_t tile, int64_t place_in_block) const {
    const Place at = place(tile);
    const int64_t y = at.y - p[TOP], x = at.x - p[LEFT];
    const float* from = copy;
    int64_t row = IN * ldx, column = ldx;
    if (p[C] % VL == 0 && inside(y, x) && inside(y + IN - 1, x + IN - 1)) from = pixel(at, y, x), row = p[W] * p[C], column = p[C];
    else copy_tile(at);
    const int64_t apart = p[BLOCK] * ldx;
    for (int64_t c = 0; c < p[C]; c += VL) {
      vf half[IN][IN], line[IN], done[IN];
      for (int i = 0; i < IN; i++) {
        for (int j = 0; j < IN; j++) line[j] = load(from + i * row + j * column + c);
        Points<E>::input(line, half[i]);
      }
      float* to = inputs + place_in_block * ldx + c;
      for (int j = 0; j < IN; j++) {
        for (int i = 0; i < IN; i++) line[i] = half[i][j];
        Points<E>::input(line, done);
        for (int i = 0; i < IN; i++) store(to + (i * IN + j) * apart, done[i]);
      }
    }
  }

  void multiply(int64_t tiles, int64_t panel, int64_t panels) const {
    for (int64_t i = 0; i < panels; i += MOST_PANELS) {
      const int count = panels - i < MOST_PANELS ? (int)(panels - i) : MOST_PANELS;
      if (!decode) {
        products_with(weights + (panel + i) * POINTS * p[C] * PANEL, p[C] * PANEL, tiles, i, count, 0, p[C]);
        continue;
      }
      for (int64_t c = 0; c < p[C]; c += p[PASS]) {
        const int64_t n = p[C] - c < p[PASS] ? p[C] - c : p[PASS];
        for (int j = 0; j < count; j++) transform_weights(panel + i + j, c, n, transformed + j * POINTS * ldw());
        products_with(transformed, ldw(), tiles, i, count, c, n);
      }
    }
  }

  // Channels [c, c + n) of the inputs × `count` panels, whose points lie `apart` floats apart; to sums from panel i of the chunk on.
  void products_with(const float* w, int64_t apart, int64_t tiles, int64_t i, int count, int64_t c, int64_t n) const {
    for (int point = 0; point < POINTS; point++)
      panels_of<MOST_PANELS>(count, tiles, inputs + point * p[BLOCK] * ldx + c, ldx, w + point * apart, POINTS * apart, n,
                             sums + point * p[BLOCK] * ldy + i * PANEL, ldy, c > 0);
  }

  void transform_weights(int64_t panel, int64_t c, int64_t n, float* to) const {
    decode(packed, panel, c * 9, n * 9, decoded);
    for (int64_t k = 0; k < n; k++)
      for (int v = 0; v < PANEL; v += VL) {
        vf half[3][IN], line[3], done[IN];
        for (int i = 0; i < 3; i++) {
          for (int j = 0; j < 3; j++) line[j] = load(tap(n, k, i * 3 + j) + v);
          Points<E>::filter(line, half[i]);
        }
        for (int j = 0; j < IN; j++) {
          for (int i = 0; i < 3; i++) line[i] = half[i][j];
          Points<E>::filter(line, done);
          for (int i = 0; i < IN; i++) store(to + (i * IN + j) * ldw() + k * PANEL + v, done[i]);
        }
      }
  }
  // Of n decoded channels.
  const float* tap(int64_t n, int64_t channel, int64_t tap) const {
    return decoded + (p[TAP_MAJOR] ? tap * n + channel : channel * 9 + tap) * PANEL;
  }

  // Outputs [out, out + VL) of a tile, of which those exist that are below N.
  void transform_sums(int64_t tile, int64_t place_in_block, int64_t out, const float* from) const {
    const int64_t apart = p[BLOCK] * ldy;
    vf half[E][IN], line[IN], done[E], y[E][E];
    for (int j = 0; j < IN; j++) {
      for (int i = 0; i < IN; i++) line[i] = load(from + (i * IN + j) * apart + place_in_block * ldy);
      Points<E>::output(line, done);
      for (int i = 0; i < E; i++) half[i][j] = done[i];
    }
    vi all_finite = ~vi{};
    for (int i = 0; i < E; i++) {
      Points<E>::output(half[i], y[i]);
      for (int j = 0; j < E; j++) all_finite &= ((vi)y[i][j] & 0x7f800000) != 0x7f800000;
    }
    bool spoilt = false;
    for (int i = 0; i < VL; i++) spoilt |= !all_finite[i];
    const Place at = place(tile);
    if (spoilt) decode ? directly_decoded(at, out, y) : directly(at, out, y);
    const float* scales = decode ? packed.scale(out / PANEL) : nullptr;
    const vf scale = scales ? load(scales + out % PANEL) : splat(1.0f);
    const vf bias = load((const float*)call->buf[2] + out), low = splat(thin_f32(p[LOW])), high = splat(thin_f32(p[HIGH]));
    const int64_t left = p[N] - out;
    for (int i = 0; i < E && at.y + i < p[OH]; i++)
      for (int j = 0; j < E && at.x + j < p[OW]; j++) {
        float* to = (float*)call->buf[3] + ((at.image * p[OH] + at.y + i) * p[OW] + at.x + j) * p[N] + out;
        const vf value = clamp(y[i][j] * scale + bias, low, high);
        if (left >= VL) store(to, value);
        else store_n(to, value, (int)left);
      }
  }

  // The tile tap by tap: an Inf or NaN of the input (or sums that overflow) must reach no other outputs than those that read it.
  void directly(const Place& at, int64_t out, vf (&y)[E][E]) const {
    const float* w = weights + out / PANEL * POINTS * p[C] * PANEL + out % PANEL;
    for (int i = 0; i < E; i++)
      for (int j = 0; j < E; j++) y[i][j] = vf{};
    for (int64_t c = 0; c < p[C]; c++) {
      vf tap[3][3];
      taps_of<E>(w + c * PANEL, p[C] * PANEL, tap);
      for (int i = 0; i < E * E * 9; i++) {
        const int64_t oy = i / 9 / E, ox = i / 9 % E, ky = i % 9 / 3, kx = i % 3;
        const int64_t iy = at.y + oy - p[TOP] + ky, ix = at.x + ox - p[LEFT] + kx;
        if (inside(iy, ix)) y[oy][ox] += tap[ky][kx] * pixel(at, iy, ix)[c];
      }
    }
  }

  // The same with weights as they are, of which absent ones see nothing.
  void directly_decoded(const Place& at, int64_t out, vf (&y)[E][E]) const {
    for (int i = 0; i < E; i++)
      for (int j = 0; j < E; j++) y[i][j] = vf{};
    for (int64_t c0 = 0; c0 < p[C]; c0 += p[PASS]) {
      const int64_t n = p[C] - c0 < p[PASS] ? p[C] - c0 : p[PASS];
      decode_marked(packed, out / PANEL, c0 * 9, n * 9, decoded);
      for (int64_t c = 0; c < n; c++)
        for (int i = 0; i < E * E * 9; i++) {
          const int64_t oy = i / 9 / E, ox = i / 9 % E, ky = i % 9 / 3, kx = i % 3;
          const int64_t iy = at.y + oy - p[TOP] + ky, ix = at.x + ox - p[LEFT] + kx;
          if (!inside(iy, ix)) continue;
          const vf w = load(tap(n, c, i % 9) + out % PANEL);
          y[oy][ox] = (vi)w == MARK ? y[oy][ox] : y[oy][ox] + w * pixel(at, iy, ix)[c0 + c];
        }
    }
  }

  void run(int64_t begin, int64_t end) const {
    const int64_t panels = (p[N] + PANEL - 1) / PANEL, chunks = (panels + p[CHUNK] - 1) / p[CHUNK];
    int64_t transformed = -1;  // block of tiles whose inputs are in scratch
    for (int64_t item = begin; item < end; item++) {
      const int64_t block = item / chunks, first = block * p[BLOCK], tiles = p[TILES] - first < p[BLOCK] ? p[TILES] - first : p[BLOCK];
      if (block != transformed)
        for (int64_t i = 0; i < tiles; i++) transform_inputs(first + i, i);
      transformed = block;
      const int64_t panel = panels * (item % chunks) / chunks, next = panels * (item % chunks + 1) / chunks;
      multiply(tiles, panel, next - panel);
      const int64_t stop = next * PANEL < p[N] ? next * PANEL : p[N];
      for (int64_t i = 0; i < tiles; i++)
        for (int64_t out = panel * PANEL; out < stop; out += VL) transform_sums(first + i, i, out, sums + out - panel * PANEL);
    }
  }
};

}  // namespace

// buf: x [N, H, W, C], transformed weights [panel][point][C][16], bias [panels * 16], y [N, OH, OW, N]. p: Param.
// One work item per block of tiles × chunk of panels.
THIN_KERNEL(winograd2) { Convolution<2>{call, nullptr, nullptr}.run(begin, end); }
THIN_KERNEL(winograd4) { Convolution<4>{call, nullptr, nullptr}.run(begin, end); }

// The same with weights as gemm packs them, K in the order (channel, tap); they are decoded and transformed where they are used.
THIN_KERNEL(winograd2_f16) { Convolution<2>{call, decode_half, decode_half}.run(begin, end); }
THIN_KERNEL(winograd4_f16) { Convolution<4>{call, decode_half, decode_half}.run(begin, end); }
THIN_KERNEL(winograd2_codebook) { Convolution<2>{call, decode_codebook, decode_codebook}.run(begin, end); }
THIN_KERNEL(winograd4_codebook) { Convolution<4>{call, decode_codebook, decode_codebook}.run(begin, end); }
THIN_KERNEL(winograd2_tiles) { Convolution<2>{call, decode_tiles<NOTHING>, decode_tiles<MARK>}.run(begin, end); }
THIN_KERNEL(winograd4_tiles) { Convolution<4>{call, decode_tiles<NOTHING>, decode_tiles<MARK>}.run(begin, end); }
