#include "engine.h"

#include <chrono>
#include <new>
#include <stdexcept>

namespace thinfer {
namespace {

constexpr int64_t LINE = 64;
constexpr int64_t LANE = -1, SHARED = -1;

int64_t round_up(int64_t n) { return (n + LINE - 1) / LINE * LINE; }

int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void require(bool good, const char* what) {
  if (!good) throw std::invalid_argument(what);
}

}  // namespace

struct Engine::State {
  explicit State(const Engine& engine)
      : engine(&engine), table(engine.references_.size() / 3), inputs(engine.input_bytes_.size()), outputs(engine.output_bytes_.size()) {
    for (size_t i = 0; i < table.size(); i++) {
      const int64_t* ref = &engine.references_[3 * i];
      if (ref[0] == ARENA) in_arena.push_back(i);
      if (ref[0] == WEIGHT) {
        const void* data = engine.weights_[static_cast<size_t>(ref[1])].data;
        table[i] = const_cast<char*>(static_cast<const char*>(data)) + ref[2];
      }
    }
  }

  // Points the table at a block; nothing to do where it is the one of the last run.
  void move_to(ArenaPool::Block leased) {
    if (leased.memory != block.memory)
      for (size_t i : in_arena) table[i] = leased.memory + engine->references_[3 * i + 2];
    block = leased;
  }

  const Engine* const engine;
  std::vector<void*> table;
  std::vector<size_t> in_arena;  // entries of the table
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  ArenaPool::Block block{nullptr, 0};
  int64_t* times = nullptr;
};

Engine::Engine(const int64_t* program, size_t length, std::vector<ThinKernelFn> kernels, std::vector<Buffer> weights,
               std::vector<int64_t> input_bytes, std::vector<int64_t> output_bytes, int64_t arena_bytes,
               int64_t scratch_bytes, std::shared_ptr<ThreadPool> pool, std::shared_ptr<ArenaPool> arenas)
    : program_(program, program + length),
      kernels_(std::move(kernels)),
      weights_(std::move(weights)),
      input_bytes_(std::move(input_bytes)),
      output_bytes_(std::move(output_bytes)),
      arena_bytes_(arena_bytes),
      pool_(std::move(pool)),
      arenas_(std::move(arenas)),
      scratch_stride_(round_up(scratch_bytes)),
      block_bytes_(round_up(arena_bytes) + scratch_stride_ * pool_->threads()) {
  require(arena_bytes >= 0 && scratch_bytes >= 0, "negative arena or scratch size");
  parse(length);
  give_back(take());  // the first run shall not be the one that allocates
}

Engine::~Engine() = default;

// Turns the program into steps; every index and offset is checked here, once.
void Engine::parse(size_t length) {
  size_t at = 0;
  auto next = [&]() -> int64_t {
    require(at < length, "the program ends inside a step");
    return program_[at++];
  };
  const int64_t count = next();
  require(count >= 0 && static_cast<size_t>(count) <= length, "the program has an impossible number of steps");
  int64_t lane = SHARED;
  for (int64_t s = 0; s < count; s++) {
    Step step;
    int64_t kernel = next();
    bool apart = false;  // from the lanes before
    while (kernel == LANE) {
      lane = next();
      require(lane >= SHARED, "a step belongs to an impossible lane");
      apart = apart || lane == SHARED;
      kernel = next();
    }
    step.lane = lane;
    step.waits = true;
    // Until the last lane's last step nobody waits: lanes are independent of each other.
    if (!apart && !steps_.empty() && steps_.back().lane != SHARED && lane >= steps_.back().lane) steps_.back().waits = false;
    require(kernel >= 0 && static_cast<size_t>(kernel) < kernels_.size(), "a step names a kernel that is not in the table");
    step.kernel = kernels_[static_cast<size_t>(kernel)];
    step.items = next();
    require(step.items >= 0, "a step has a negative number of items");
    step.first_buffer = references_.size() / 3;
    const int64_t buffers = next();
    require(buffers >= 0 && buffers <= 64, "a step has an impossible number of buffers");
    for (int64_t b = 0; b < buffers; b++) {
      const int64_t space = next(), index = next(), offset = next();
      int64_t size = -1;
      const size_t i = static_cast<size_t>(index);
      if (space == ARENA) size = arena_bytes_;
      if (space == WEIGHT && index >= 0 && i < weights_.size()) size = weights_[i].nbytes;
      if (space == INPUT && index >= 0 && i < input_bytes_.size()) size = input_bytes_[i];
      if (space == OUTPUT && index >= 0 && i < output_bytes_.size()) size = output_bytes_[i];
      require(size >= 0 && offset >= 0 && offset <= size, "a step's buffer lies outside its space");
      if (space == INPUT || space == OUTPUT)
        externals_.push_back({references_.size() / 3, i, offset, space == OUTPUT});
      references_.insert(references_.end(), {space, index, offset});
    }
    const int64_t params = next();
    require(params >= 0 && static_cast<size_t>(params) <= length - at, "a step has an impossible number of parameters");
    step.params = program_.data() + at;
    at += static_cast<size_t>(params);
    steps_.push_back(step);
  }
  require(at == length, "the program goes on after its last step");
}

Engine::State* Engine::take() {
  const ArenaPool::Block block = arenas_->lease(block_bytes_);
  try {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) {
      states_.push_back(std::make_unique<State>(*this));
      free_.reserve(states_.size());
      free_.push_back(states_.back().get());
    }
    State* state = free_.back();
    free_.pop_back();
    state->move_to(block);
    return state;
  } catch (...) {
    arenas_->give_back(block);
    throw;
  }
}

void Engine::give_back(State* state) {
  arenas_->give_back(state->block);
  std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(state);
}

Engine::Call Engine::begin() {
  State* state = take();
  return {state->inputs.data(), state->outputs.data(), state};
}

void Engine::cancel(const Call& call) { give_back(static_cast<State*>(call.state)); }

void Engine::run(const Call& call, int64_t* times) {
  State* state = static_cast<State*>(call.state);
  state->times = times;
  for (const External& external : externals_) {
    char* base = static_cast<char*>(external.is_output ? call.outputs[external.index] : const_cast<void*>(call.inputs[external.index]));
    state->table[external.slot] = base + external.offset;
  }
  if (pool_->try_acquire()) {
    pool_->run(&Engine::job, state);
    pool_->release();
  } else {
    run_steps(*state, 0, 1, false);
  }
  give_back(state);
}

void Engine::job(void* context, int thread) {
  State* state = static_cast<State*>(context);
  state->engine->run_steps(*state, thread, state->engine->pool_->threads(), true);
}

void Engine::run_steps(State& state, int thread, int threads, bool together) const {
  ThinCall call;
  call.scratch = state.block.memory + round_up(arena_bytes_) + scratch_stride_ * thread;
  int64_t* times = thread == 0 ? state.times : nullptr;
  int64_t before = times ? nanoseconds() : 0;
  for (const Step& step : steps_) {
    call.buf = state.table.data() + step.first_buffer;
    call.p = step.params;
    if (step.lane == SHARED) {
      const int64_t begin = step.items * thread / threads, end = step.items * (thread + 1) / threads;
      if (begin < end) step.kernel(&call, begin, end);
    } else if (step.lane % threads == thread) {
      step.kernel(&call, 0, step.items);
    }
    if (together && step.waits) pool_->barrier();
    if (times) {
      const int64_t after = nanoseconds();
      *times++ = after - before;
      before = after;
    }
  }
}

}  // namespace thinfer
