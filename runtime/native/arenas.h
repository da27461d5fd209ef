// Working memory for runs, shared by the plans of a session: as many blocks as runs were ever under way at once, each as
// large as the largest that was asked of it.
#pragma once

#include <stdint.h>

#include <mutex>
#include <vector>

namespace thinfer {

class ArenaPool {
 public:
  struct Block {
    char* memory;  // 64-byte aligned
    int64_t bytes;
  };

  ArenaPool() = default;
  ~ArenaPool();
  ArenaPool(const ArenaPool&) = delete;
  ArenaPool& operator=(const ArenaPool&) = delete;

  // A block of at least so many bytes, the caller's until it gives it back. Throws std::bad_alloc.
  Block lease(int64_t bytes);
  void give_back(Block block);

  int64_t nbytes() const;  // of all blocks
  int64_t blocks() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Block> free_;
  int64_t count_ = 0, total_ = 0;
};

}  // namespace thinfer
