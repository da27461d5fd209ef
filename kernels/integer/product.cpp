// y[M, N] = finish(x[M, K] · Wᵀ): codes times int8 weights in panels of 16 outputs, [K / 4][16][4]; on NEON without dot products THIN_QUADS.
#include "coded.h"
#include "finish.h"
#include "patches.h"
#include "product_dot.h"
#include "product_quads.h"

namespace {

constexpr int PANEL = 16, NV = PANEL / VL;

// Tile of the micro-kernel: at most MP panels; rows by how many sums the registers hold beside them.
#if defined(__AVX512VNNI__)
constexpr int MP = 4;
constexpr int rows_of(int panels) { return panels == 4 ? 6 : panels == 3 ? 8 : 12; }
#elif defined(__AVX512F__)
constexpr int MP = 4;
constexpr int rows_of(int panels) { return panels == 4 ? 5 : panels == 3 ? 6 : 10; }
#elif defined(__AVX2__)
constexpr int MP = 1;
constexpr int rows_of(int) { return 4; }
#elif defined(__aarch64__)
constexpr int MP = 1;
constexpr int rows_of(int) { return 4; }
#else
constexpr int MP = 1;
constexpr int rows_of(int) { return 2; }
#endif

enum Param {
  M, K, N, GROUPS,  // rows of x, columns of x and outputs per group, groups
  LDX,              // bytes between rows (pixels) of x
  ROWS, CHUNKS,     // rows per work item, parts that a group's panels are cut into
  BLOCK,            // rows whose patches are copied at a time
  SIGNED,           // codes of x are int8
  PAD,              // the code of zero, for padding
  GATHER,           // 1: x is an image, its rows are patches (ConvParam)
  OUTPUTS,          // of all groups with panels filled up: stride of the table
  BITS,             // of a weight, whose panels are decoded into scratch; 0: they lie as bytes
  DECODED,          // where in scratch that is
  FINISH,
  CONV = FINISH + F_PARAMS
};

struct Tile {
  const int8_t* x;
  int64_t ldx;
  const int8_t* w;     // panels ldw bytes apart
  int64_t ldw, words;  // words of four columns
  int64_t tail;        // columns of the last word, with THIN_QUADS of the last sixteen, if not all
  int32_t flip;        // gives codes the sign that dot wants
  const Finish* finish;
  Table table;
  int64_t at;          // of the first output in the table
  const int32_t* start;  // what sums begin with
  int64_t row, column, columns;
  bool upwards;        // from the last row to the first one
#if defined(__ARM_NEON)
  bool pairs = true;   // see product_quads.h
#endif
#if defined(__aarch64__)
  const QuickNeon* quick = nullptr;
  int begun = 0;       // how sums begin: Begun
#endif
};

#if !defined(THIN_QUADS)
// The last `tail` bytes (1 to 3) of a row of K, the lowest of a word of which the others are 0.
inline int32_t last_word(const int8_t* row, int64_t k, int64_t tail) {
  if (k >= 4) return (int32_t)((uint32_t)load_word(row + k - 4) >> (8 * (4 - tail)));
  const uint8_t* x = (const uint8_t*)row;
  return x[0] | (tail > 1 ? x[1] << 8 : 0) | (tail > 2 ? x[2] << 16 : 0);
}
#endif

// The zero point of a row of dynamic codes, as the codes that dot sees have it.
inline int32_t zero_of(const Finish& f, int64_t row) { return (int32_t)f.zeros[f.group(row)] - CODE_SHIFT; }

template <int R, int P>
[[gnu::always_inline]] inline void sums_of(vi (&sum)[R][P * NV], const Tile& t) {
  int32_t zeros[R];
  if (t.finish->flags & DYNAMIC_ZERO) {
    const bool share = t.finish->share(t.row, R);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) zeros[r] = r > 0 && share ? zeros[0] : -zero_of(*t.finish, t.row + r);
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) zeros[r] = 1;
  }
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const vi start = loadi(t.start + i * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sum[r][i] = (t.finish->flags & DYNAMIC_ZERO) ? start * zeros[r] : start;
  }
  const vi flip = splati(t.flip);
#if defined(THIN_QUADS)
  int32_t raw[R][PANEL];
  const QuadRows<R> rows(t.x, t.ldx, t.words / 4 - (t.tail != 0), t.tail, flip);
  if (t.pairs) panel_sums<R, true>(rows, t.w, raw);
  else panel_sums<R, false>(rows, t.w, raw);
#pragma GCC unroll 16
  for (int i = 0; i < R * NV; i++) sum[i / NV][i % NV] += loadi(raw[i / NV] + i % NV * VL);
#else
  const int8_t* x[(R + 2) / 3];
#pragma GCC unroll 16
  for (int r = 0; r < R; r += 3) x[r / 3] = t.x + r * t.ldx;
  const int64_t ldx = t.ldx;
  const int8_t* w = t.w;
  const int64_t whole = t.tail ? t.words - 1 : t.words;
#if defined(__ARM_FEATURE_DOTPROD)
  int64_t k = add_words<R>(sum, t.x, ldx, w, whole, flip);
  w += k * 4 * PANEL;
#else
  int64_t k = 0;
#endif
  for (; k < whole; k++, w += 4 * PANEL) {
    W column[P * NV];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) column[p * NV + v] = signed_words(loadi(w + p * t.ldw + v * VL * 4));
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const X value = unsigned_words(apart(splati(load_word(x[r / 3] + r % 3 * ldx + 4 * k))) ^ flip);
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] = dot(sum[r][i], value, column[i]);
    }
  }
  if (t.tail)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {  // unrolled, as all loops over sums: what is indexed at run time lies in memory
      const X value = unsigned_words(splati(last_word(t.x + r * ldx, 4 * whole + t.tail, t.tail)) ^ flip);
#pragma GCC unroll 16
      for (int i = 0; i < P * NV; i++) sum[r][i] = dot(sum[r][i], value, signed_words(loadi(w + i / NV * t.ldw + i % NV * VL * 4)));
    }
#endif
}

template <int R, int P>
[[gnu::always_inline]] inline void exactly(const vi (&sum)[R][P * NV], const Tile& t) {
  int32_t rows[R][P * PANEL];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int i = 0; i < P * NV; i++) storei(rows[r] + i * VL, sum[r][i]);
  t.finish->exactly(rows[0], P * PANEL, R, t.table, t.at, t.row, t.column, t.columns);
}

// Sums that others finish.
template <int R, int P>
[[gnu::always_inline]] inline void as_they_are(const vi (&sum)[R][P * NV], const Tile& t) {
  const int64_t ld = t.finish->ld;
  float* to = t.finish->y + t.row * ld + t.column;
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const int left = t.columns - i * VL < VL ? (int)(t.columns - i * VL) : VL;
    if (left <= 0) break;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      if (__builtin_expect(left == VL, 1)) store(to + r * ld + i * VL, (vf)sum[r][i]);
      else store_n(to + r * ld + i * VL, (vf)sum[r][i], left);
    }
  }
}

// Floats and nothing else, from the registers.
template <int R, int P>
[[gnu::always_inline]] inline void to_floats(const vi (&sum)[R][P * NV], const Tile& t) {
  const Finish& f = *t.finish;
  const vf floor = splat(thin_f32(f.p[F_LOW])), ceiling = splat(thin_f32(f.p[F_HIGH])), alpha = splat(thin_f32(f.p[F_ALPHA]));
  vf scale[R];
  const bool is_dynamic = f.flags & DYNAMIC, differ = is_dynamic && !f.share(t.row, R);
  if (is_dynamic) scale[0] = splat(f.scales[f.group(t.row)]);
  if (differ)
#pragma GCC unroll 16
    for (int r = 1; r < R; r++) scale[r] = splat(f.scales[f.group(t.row + r)]);
  const int64_t ld = f.ld, place = t.row * ld + t.column, flags = f.flags;
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const int left = t.columns - i * VL < VL ? (int)(t.columns - i * VL) : VL;
    if (left <= 0) break;
    const vf own = load(t.table.m + t.at + i * VL), bias = load(t.table.bias + t.at + i * VL);
    vf m = is_dynamic ? apart(apart(scale[0] * own) * alpha) : own;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const int64_t at = place + r * ld + i * VL;
      if (r > 0 && differ) m = apart(apart(scale[r] * own) * alpha);
      vf v = apart(__builtin_convertvector(sum[r][i], vf) * m) + bias;
      if (flags & ADDS) v += left == VL ? load(f.addend + at) : load_n(f.addend + at, left);
      v = clamped(v, floor, ceiling);
      if (__builtin_expect(left == VL, 1)) store(f.y + at, v);
      else store_n(f.y + at, v, left);
    }
  }
}

// The first n <= MOST bytes of a vector.
template <int MOST>
[[gnu::always_inline]] inline void store_outputs(int8_t* to, vi bytes, int64_t n) {
  if (n < MOST) store_bytes(to, bytes, n);
  else if constexpr (MOST == 4 * VL) storei(to, bytes);
#if defined(__AVX512F__)
  else {
    if constexpr (MOST >= 32) _mm256_storeu_si256((__m256i*)to, _mm512_castsi512_si256((__m512i)bytes));
    else _mm_storeu_si128((__m128i*)to, _mm512_castsi512_si128((__m512i)bytes));
    if constexpr (MOST == 48) _mm_storeu_si128((__m128i*)(to + 32), _mm512_extracti32x4_epi32((__m512i)bytes, 2));
  }
#else
  else __builtin_memcpy(to, &bytes, MOST);
#endif
}

// One row, exactly: for rows whose quick codes lie near a tie.
template <int P>
[[gnu::noinline]] void again(Tile t, int64_t r) {
  t.x += r * t.ldx;
  t.row += r;
  t.start = t.table.start + t.at;
  vi sum[1][P * NV];
  sums_of<1, P>(sum, t);
  exactly<1, P>(sum, t);
}

#if defined(__aarch64__)
// Codes of a panel's rows, the quick way. Bit r of the result: row r lies near a tie. One look tells that none does.
template <int R, bool FULL>
[[gnu::always_inline]] inline uint32_t quickly(const vi (&sum)[R][NV], const Tile& t, const QuickNeon& f) {
  const float* m = t.table.quick_m + t.at;
  vf value[R][NV];
  if (t.begun == FOLDED) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<FOLDED>(sum[i / NV][i % NV]);
  } else if (t.begun == BASED) {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<BASED>(sum[i / NV][i % NV]);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < R * NV; i++) value[i / NV][i % NV] = float_of<AS_THEY_ARE>(sum[i / NV][i % NV]);
  }
  int8_t* to = f.codes + t.row * f.ld + t.column;
  uint16x8_t least[R], all = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; r++, to += f.ld) {
    const vi bytes = f.bytes_of(value[r], m, read_again(t.table.begun_bias + t.at), least[r]);
    if (FULL) storei(to, bytes);
    else store_bytes(to, bytes, t.columns);
    all = r ? vminq_u16(all, least[r]) : least[r];
  }
  uint32_t rows = 0;
  if (__builtin_expect(f.is_near(all), 0))
    for (int r = 0; r < R; r++) rows |= (uint32_t)f.is_near(least[r]) << r;
  return rows;
}
#endif

template <int R, int P>
void tile(const Tile& t) {
  vi sum[R][P * NV];
  sums_of<R, P>(sum, t);
  if (t.finish->flags & AS_SUMS) {
    as_they_are<R, P>(sum, t);
    return;
  }
  if ((t.finish->flags & (TO_FLOATS | TO_CODES)) == TO_FLOATS) {
    to_floats<R, P>(sum, t);
    return;
  }
  if (!t.finish->is_quick()) {
    exactly<R, P>(sum, t);
    return;
  }
#if defined(__aarch64__)
  const QuickNeon f = *t.quick;
  uint32_t rows = t.columns >= PANEL ? quickly<R, true>(sum, t, f) : quickly<R, false>(sum, t, f);
#else
  const Quick f = t.finish->quick;
  int8_t* to = f.codes + t.row * f.ld + t.column;
  const int64_t columns = t.columns;
#pragma GCC unroll 16
  for (int i = 0; i < P * NV; i++) {
    const vf m = load(t.table.quick_m + t.at + i * VL), bias = load(t.table.quick_bias + t.at + i * VL);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sum[r][i] = (vi)(__builtin_convertvector(sum[r][i], vf) * m + bias);
  }
  uint32_t rows = 0;
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    vf distance = {};
#pragma GCC unroll 4
    for (int i = 0; i < P * NV; i += 4) {
      vf q[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) q[j] = i + j < P * NV ? (vf)sum[r][i + j < P * NV ? i + j : 0] : vf{};
      const vi bytes = in_order(f.bytes_of(q[0], q[1], q[2], q[3], distance));
      store_outputs<P * PANEL>(to + r * f.ld + i * VL, bytes, columns - i * VL);
    }
    rows |= (uint32_t)f.is_near(distance) << r;
  }
#endif
  for (int r = 0; __builtin_expect(rows != 0, 0); r++, rows >>= 1)
    if (rows & 1) again<P>(t, r);
}

#if defined(__aarch64__) && defined(THIN_QUADS)
// All rows but at most three of a whole panel, the quick way; says how many.
template <int BEGUN>
[[gnu::noinline]] int64_t quick_rows(int64_t rows, const Tile& t) {
  const QuickNeon f = *t.quick;
  const QuadPanel panel = {t.w, t.start, t.table.quick_m + t.at, t.table.begun_bias + t.at};
  const vi flip = splati(t.flip);
  const int64_t count = rows / 4 * 4, sixteens = t.words / 4 - (t.tail != 0);
  for (int64_t done = 0; done < count; done += 4) {
    const int64_t r = t.upwards ? rows - 4 - done : done;
    const QuadRows<4> four(t.x + r * t.ldx, t.ldx, sixteens, t.tail, flip);
    uint32_t near = panel_codes<BEGUN>(four, panel, f, f.codes + (t.row + r) * f.ld + t.column);
    for (int64_t i = r; __builtin_expect(near != 0, 0); i++, near >>= 1)
      if (near & 1) again<1>(t, i);
  }
  return count;
}
#endif

// `rows` rows from `first` on in tiles of R; the last one ends with them, so that some are computed twice. Upwards: beginning with the last ones.
template <int R, int P>
inline void rows_in_tiles(int64_t first, int64_t rows, const Tile& block) {
  Tile t = block;
  for (int64_t r = 0; r < rows; r += R) {
    const int64_t whole = r + R <= rows ? r : rows - R, from = first + (block.upwards ? rows - R - whole : whole);
    t.x = block.x + from * t.ldx;
    t.row = block.row + from;
    tile<R, P>(t);
  }
}

// All rows: tiles of R, then what is left in a smaller one if that holds it.
template <int P>
inline void all_rows(int64_t rows, const Tile& block) {
  Tile t = block;
#if defined(__aarch64__) && defined(THIN_QUADS)
  if (t.finish->is_quick() && t.pairs && t.columns >= PANEL && t.words >= 4 + 4 * (t.tail != 0)) {
    const int64_t done = t.begun == FOLDED ? quick_rows<FOLDED>(rows, t) : t.begun == BASED ? quick_rows<BASED>(rows, t) : quick_rows<AS_THEY_ARE>(rows, t);
    if (!t.upwards) {
      t.x += done * t.ldx;
      t.row += done;
    }
    rows -= done;
  }
#endif
  constexpr int R = rows_of(P), HALF = R > 4 ? 4 : R > 2 ? 2 : 1;
  const int64_t left = rows % R, whole = rows >= R && left <= HALF ? rows - left : rows;
  if (rows >= R) rows_in_tiles<R, P>(0, whole, t);
  if (rows >= R && whole == rows) return;
  const int64_t first = rows >= R ? whole : 0, rest = rows - first;
  if (rest == 1) rows_in_tiles<1, P>(first, 1, t);
  else if (rows >= HALF) rows_in_tiles<HALF, P>(rest < HALF ? rows - HALF : first, rest < HALF ? HALF : rest, t);
  else rows_in_tiles<1, P>(first, rest, t);
}

template <int P>
inline void panels_of(int panels, int64_t rows, const Tile& t) {
  if (panels == P) all_rows<P>(rows, t);
  else if constexpr (P > 1) panels_of<P - 1>(panels, rows, t);
}

void block(const ThinCall* call, const Finish& finish, int64_t group, int64_t chunk, int64_t row0, int64_t rows, bool upwards) {
  const int64_t* p = call->p;
#if defined(THIN_QUADS)
  const int64_t words = (p[K] + 15) / 16 * 4, tail = p[K] % 16, kept = 0;
#else
  const int64_t words = (p[K] + 3) / 4, tail = p[GATHER] ? 0 : p[K] % 4, kept = p[K] % 4;  // patches are filled up
#endif
  const int64_t panels = (p[N] + PANEL - 1) / PANEL, bits = p[BITS];
  const int64_t panel_bytes = bits ? coded_bytes(words, bits) : words * 4 * PANEL, ldw = bits ? (words + WORDS - 1) / WORDS * WORDS * 4 * PANEL : panel_bytes;
  const int64_t first = panels * chunk / p[CHUNKS], last = panels * (chunk + 1) / p[CHUNKS], tiles = (last - first + MP - 1) / MP;
  const int8_t* x = (const int8_t*)call->buf[0] + group * (p[GATHER] ? p[CONV + C_CHANNELS] : p[K]);
  const int64_t step = p[GATHER] ? p[BLOCK] : rows;
#if defined(__ARM_NEON)
  const int32_t* told = (const int32_t*)call->buf[2] + ((finish.flags & AS_SUMS) ? 1 : 7) * p[OUTPUTS];  // told() of pack.py
#endif
#if defined(__aarch64__)
  const QuickNeon quick(finish);
#endif
  for (int64_t r = 0; r < rows; r += step) {
    const int64_t now = rows - r < step ? rows - r : step;
    Tile t = {x + (row0 + r) * p[LDX], p[LDX], nullptr, ldw, words, tail, flip_of(p[SIGNED]), &finish,
              Table(call->buf[2], p[OUTPUTS]), 0, nullptr, row0 + r, 0, 0, upwards};
#if defined(__aarch64__)
    t.quick = &quick;
    t.begun = told[1];
#endif
#if defined(__ARM_NEON)
    t.pairs = told[0];
#endif
    if (p[GATHER]) {
      const int8_t pad = (int8_t)p[PAD];
      const bool own = (finish.flags & DYNAMIC_ZERO) && finish.p[F_GROUP_ROWS] < p[M];
      const CodePatches patches = {x, p[LDX], p + CONV, (finish.flags & DYNAMIC_ZERO) ? (const int8_t*)finish.zeros : &pad, own};
      patches.gather(row0 + r, row0 + r + now, (int8_t*)call->scratch, words * 4);
      t.x = (const int8_t*)call->scratch;
      t.ldx = words * 4;
    }
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t panel = first + (last - first) * i / tiles, next = first + (last - first) * (i + 1) / tiles;
      t.w = (const int8_t*)call->buf[1] + (group * panels + panel) * panel_bytes;
      if (bits) {
        const int8_t* tables = (const int8_t*)call->buf[1] + p[GROUPS] * panels * panel_bytes + (group * panels + panel) * ENTRIES;
        int8_t* decoded = (int8_t*)call->scratch + p[DECODED];
        for (int64_t j = 0; j < next - panel; j++) decode_panel(t.w + j * panel_bytes, tables + j * ENTRIES, bits, words, kept, decoded + j * ldw);
        t.w = decoded;
      }
      t.at = (group * panels + panel) * PANEL;
      t.start = t.table.start + t.at;
#if defined(__aarch64__)
      if (finish.is_quick()) t.start = t.table.begun_start + t.at;
#endif
      t.column = group * p[N] + panel * PANEL;
      t.columns = next * PANEL < p[N] ? (next - panel) * PANEL : p[N] - panel * PANEL;
      panels_of<MP>((int)(next - panel), now, t);
    }
  }
}

}  // namespace

// buf: x, weights, table, y, codes, addend, scales, zeros (those that are not there: any). p: Param.
// One work item per block of rows × group × chunk of panels.
THIN_KERNEL(product_i8) {
  const int64_t* p = call->p;
  const Finish finish = {p + FINISH, (float*)call->buf[3], (int8_t*)call->buf[4], (const float*)call->buf[5], (const float*)call->buf[6],
                         (const uint8_t*)call->buf[7], p[GROUPS] * p[N]};
  for (int64_t item = begin; item < end; item++) {
    const int64_t group = item / p[CHUNKS] % p[GROUPS], row = item / p[CHUNKS] / p[GROUPS] * p[ROWS];
    // Prefetchers follow the columns that are written: of a thread's last rows not into those of another, which has them in its cache.
    const bool upwards = item + 1 == end && row + p[ROWS] < p[M];
    block(call, finish, group, item % p[CHUNKS], row, p[M] - row < p[ROWS] ? p[M] - row : p[ROWS], upwards);
  }
}
