// Runs two engines, one whose threads share items and one with lanes, from many threads at once, with pools of several sizes, and checks every result. Compiled with ThreadSanitizer by
// test_thread_sanitizer.py: a data race ends the process with an error.
#include <stdio.h>
#include <string.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "../../runtime/native/engine.h"

namespace {

// y[i] = x[i] + p[0], item by item; a step reads what the one before it wrote, so a barrier that lets a thread through is seen.
void add(const ThinCall* call, int64_t begin, int64_t end) {
  const float* x = static_cast<const float*>(call->buf[0]);
  float* y = static_cast<float*>(call->buf[1]);
  float* own = reinterpret_cast<float*>(call->scratch);
  for (int64_t i = begin; i < end; i++) {
    own[0] = x[i];
    y[i] = own[0] + static_cast<float>(call->p[0]);
  }
}

// The same, read from the other end: items of other threads.
void add_turned(const ThinCall* call, int64_t begin, int64_t end) {
  const float* x = static_cast<const float*>(call->buf[0]);
  float* y = static_cast<float*>(call->buf[1]);
  for (int64_t i = begin; i < end; i++) y[i] = x[call->p[1] - 1 - i] + static_cast<float>(call->p[0]);
}

constexpr int64_t N = 257, BYTES = N * 4, ARENA_BYTES = 8192;
constexpr int64_t A = 0, B = 2048, C = 4096, D = 6144;  // in the arena

using thinfer::ARENA;
using thinfer::INPUT;
using thinfer::OUTPUT;

// input → arena → arena → output, 1 + 2 + 3 added and turned twice.
std::vector<int64_t> shared_items() {
  return {3,
          0, N, 2, INPUT, 0, 0, ARENA, 0, A, 2, 1, N,
          1, N, 2, ARENA, 0, A, ARENA, 0, B, 2, 2, N,
          1, N, 2, ARENA, 0, B, OUTPUT, 0, 0, 2, 3, N};
}

// As strips and recurrent directions run: lanes of two steps that nobody waits between, lanes that read what other lanes wrote, and steps that
// all threads share before and after. Turned by the first, the third and the last; within a lane also by the second.
std::vector<int64_t> lanes(int count) {
  std::vector<int64_t> code{2 + 3 * count, 1, N, 2, INPUT, 0, 0, ARENA, 0, A, 2, 1, N};
  const auto add = [&](std::vector<int64_t> more) { code.insert(code.end(), more.begin(), more.end()); };
  for (int lane = 0; lane < count; lane++) {
    const int64_t start = N * lane / count, items = N * (lane + 1) / count - start, at = start * 4;
    add({-1, lane, 0, items, 2, ARENA, 0, A + at, ARENA, 0, B + at, 2, 2, items});
    add({1, items, 2, ARENA, 0, B + at, ARENA, 0, C + at, 2, 3, items});
  }
  for (int lane = 0; lane < count; lane++) {
    const int64_t start = N * lane / count, items = N * (lane + 1) / count - start;
    add({-1, lane, 1, items, 2, ARENA, 0, C, ARENA, 0, D + start * 4, 2, 4, N - start});
  }
  add({-1, -1, 1, N, 2, ARENA, 0, D, OUTPUT, 0, 0, 2, 5, N});
  return code;
}

// Where output i of `lanes` comes from: turned, so to the lane that has it, turned there, and turned twice.
int64_t source_in_lanes(int64_t i, int count) {
  for (int lane = 0; lane < count; lane++) {
    const int64_t start = N * lane / count, end = N * (lane + 1) / count;
    if (i >= start && i < end) return N - 1 - (start + end - 1 - i);
  }
  return -1;
}

constexpr int LANES = 5;

bool many_callers(int pool_threads, int callers, int runs) {
  auto pool = std::make_shared<thinfer::ThreadPool>(pool_threads);
  auto arenas = std::make_shared<thinfer::ArenaPool>();
  const auto engine_of = [&](const std::vector<int64_t>& code) {
    return std::make_unique<thinfer::Engine>(code.data(), code.size(), std::vector<ThinKernelFn>{add, add_turned}, std::vector<thinfer::Buffer>{},
                                             std::vector<int64_t>{BYTES}, std::vector<int64_t>{BYTES}, ARENA_BYTES, 64, pool, arenas);
  };
  const auto sharing = engine_of(shared_items()), in_lanes = engine_of(lanes(LANES));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int c = 0; c < callers; c++)
    threads.emplace_back([&, c] {
      std::vector<float> x(N), y(N);
      const auto run = [&](thinfer::Engine& engine) {
        const auto call = engine.begin();
        call.inputs[0] = x.data();
        call.outputs[0] = y.data();
        engine.run(call);
      };
      for (int r = 0; r < runs; r++) {
        for (int64_t i = 0; i < N; i++) x[i] = static_cast<float>(c * 1000 + r + i);
        run(*sharing);
        for (int64_t i = 0; i < N; i++) wrong += y[i] != x[i] + 6;
        run(*in_lanes);
        for (int64_t i = 0; i < N; i++) wrong += y[i] != x[source_in_lanes(i, LANES)] + 15;
      }
    });
  for (auto& thread : threads) thread.join();
  return wrong == 0;
}

}  // namespace

int main() {
  for (int pool_threads : {1, 2, 3, 8})
    for (int callers : {1, 4})
      if (!many_callers(pool_threads, callers, 40)) {
        printf("wrong results with %d threads and %d callers\n", pool_threads, callers);
        return 1;
      }
  for (int i = 0; i < 40; i++) thinfer::ThreadPool pool(4);  // made and given up without a job
  printf("no race\n");
  return 0;
}
