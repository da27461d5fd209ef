// The engine: runs a list of plain-data steps. It knows neither Python nor operators.
#pragma once

#include <stdint.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "arenas.h"
#include "kernel.h"
#include "pool.h"

namespace thinfer {

// Where a step's buffer lies. The program holds pairs (space, index, byte offset).
enum Space : int64_t { ARENA = 0, WEIGHT = 1, INPUT = 2, OUTPUT = 3 };

struct Buffer {
  const void* data;
  int64_t nbytes;
};

// A program is one array of int64, so that it can be stored and sent:
//   number of steps, then per step: kernel (index into the kernel table), items, number of buffers,
//   (space, index, byte offset) per buffer, number of parameters, parameters.
// Threads share the items of a step and wait for each other after it. Where -1 and a lane stand in place of a step, the steps that
// follow belong to that lane: one thread runs them, and threads meet again after the last lane. -1 and -1 ends that, and so does a lane below the
// one before; other lanes may follow at once.
class Engine {
 public:
  // Throws std::invalid_argument if the program is not well-formed or points outside its buffers' starts.
  Engine(const int64_t* program, size_t length, std::vector<ThinKernelFn> kernels, std::vector<Buffer> weights,
         std::vector<int64_t> input_bytes, std::vector<int64_t> output_bytes, int64_t arena_bytes, int64_t scratch_bytes,
         std::shared_ptr<ThreadPool> pool, std::shared_ptr<ArenaPool> arenas);
  ~Engine();

  // One inference: begin, fill in the pointers, run. Any number of threads may call this at once; nothing is allocated unless more of them are inside than ever before.
  // Pointers of one run, which the caller fills between begin and run.
  struct Call {
    const void** inputs;
    void** outputs;
    void* state;
  };
  Call begin();
  // `times`: where each step's wall-clock nanoseconds go, steps() of them, or null.
  void run(const Call& call, int64_t* times = nullptr);
  void cancel(const Call& call);  // gives back what begin took, where run is not reached

  size_t steps() const { return steps_.size(); }
  size_t inputs() const { return input_bytes_.size(); }
  size_t outputs() const { return output_bytes_.size(); }
  int64_t input_bytes(size_t i) const { return input_bytes_[i]; }
  int64_t output_bytes(size_t i) const { return output_bytes_[i]; }
  int64_t arena_bytes() const { return arena_bytes_; }

 private:
  struct Step {
    ThinKernelFn kernel;
    int64_t items;
    size_t first_buffer;  // into the pointer table
    const int64_t* params;
    int64_t lane;  // of the thread that runs it, or SHARED
    bool waits;    // threads meet after it
  };
  struct External {  // an entry of the pointer table that changes with every run
    size_t slot;
    size_t index;
    int64_t offset;
    bool is_output;
  };
  struct State;  // of one run: pointer table, and the memory that it points into, which is leased

  void parse(size_t length);
  State* take();
  void give_back(State* state);
  void run_steps(State& state, int thread, int threads, bool together) const;
  static void job(void* context, int thread);

  std::vector<int64_t> program_;
  std::vector<ThinKernelFn> kernels_;
  std::vector<Buffer> weights_;
  std::vector<int64_t> input_bytes_, output_bytes_;
  int64_t arena_bytes_;
  std::shared_ptr<ThreadPool> pool_;
  std::shared_ptr<ArenaPool> arenas_;
  int64_t scratch_stride_, block_bytes_;  // of a thread; of arena and scratch together
  std::vector<Step> steps_;
  std::vector<int64_t> references_;  // (space, index, offset) per entry of the pointer table
  std::vector<External> externals_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<State>> states_;
  std::vector<State*> free_;
};

}  // namespace thinfer
