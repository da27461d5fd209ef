#include "crc32.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace thin {
namespace {

#if defined(__x86_64__)
constexpr uint32_t POLYNOMIAL = 0xEDB88320;  // bits reflected: the lowest bit is the highest power

constexpr uint32_t times_x(uint32_t r) { return (r >> 1) ^ (r & 1 ? POLYNOMIAL : 0); }

// x^n modulo the polynomial, shifted by the bit that a carry-less product of two reflected numbers lacks.
constexpr int64_t power(int n) {
  uint32_t r = 0x80000000u;
  for (int i = 0; i < n; i++) r = times_x(r);
  return static_cast<int64_t>(static_cast<uint64_t>(r) << 1);
}

constexpr uint32_t of_byte(uint32_t byte) {
  for (int bit = 0; bit < 8; bit++) byte = times_x(byte);
  return byte;
}

struct Bytes {
  uint32_t of[256];
  constexpr Bytes() : of() {
    for (uint32_t i = 0; i < 256; i++) of[i] = of_byte(i);
  }
};
constexpr Bytes BYTES;

uint32_t by_bytes(uint32_t crc, const uint8_t* data, size_t count) {
  for (size_t i = 0; i < count; i++) crc = BYTES.of[(crc ^ data[i]) & 255] ^ (crc >> 8);
  return crc;
}

__attribute__((target("pclmul,sse4.1"))) inline __m128i load(const uint8_t* data) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
}

// `lane` as far on as `by` says, plus what lies there (Gopal et al., Fast CRC computation using PCLMULQDQ, Intel 2009).
__attribute__((target("pclmul,sse4.1"))) inline __m128i folded(__m128i lane, __m128i by, __m128i next) {
  return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00), _mm_clmulepi64_si128(lane, by, 0x11)));
}

// Four lanes of 16 bytes are carried 64 bytes on at a time, then into one, and what is left is summed byte by byte.
__attribute__((target("pclmul,sse4.1"))) uint32_t by_lanes(uint32_t crc, const uint8_t* data, size_t count) {
  const __m128i by64 = _mm_set_epi64x(power(512 - 32), power(512 + 32)), by16 = _mm_set_epi64x(power(128 - 32), power(128 + 32));
  __m128i lanes[4];
  for (int i = 0; i < 4; i++) lanes[i] = load(data + 16 * i);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  size_t at = 64;
  for (; count - at >= 64; at += 64)
    for (int i = 0; i < 4; i++) lanes[i] = folded(lanes[i], by64, load(data + at + 16 * i));
  __m128i one = lanes[0];
  for (int i = 1; i < 4; i++) one = folded(one, by16, lanes[i]);
  for (; count - at >= 16; at += 16) one = folded(one, by16, load(data + at));
  uint8_t rest[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), one);
  return by_bytes(by_bytes(0, rest, sizeof rest), data + at, count - at);
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) uint32_t by_words(uint32_t crc, const uint8_t* data, size_t count) {
  size_t at = 0;
  for (; count - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, data + at, sizeof word);
    crc = __crc32d(crc, word);
  }
  for (; at < count; at++) crc = __crc32b(crc, data[at]);
  return crc;
}
#endif

}  // namespace

#if defined(__x86_64__)
bool crc32_runs() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

uint32_t crc32(const uint8_t* data, size_t count, uint32_t before) {
  return ~(count < 64 ? by_bytes(~before, data, count) : by_lanes(~before, data, count));
}
#elif defined(__aarch64__)
bool crc32_runs() { return getauxval(AT_HWCAP) & HWCAP_CRC32; }

uint32_t crc32(const uint8_t* data, size_t count, uint32_t before) { return ~by_words(~before, data, count); }
#else
bool crc32_runs() { return false; }

uint32_t crc32(const uint8_t*, size_t, uint32_t) { return 0; }
#endif

}  // namespace thin
