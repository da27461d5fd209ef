// Wheels hold the C++ library, and pybind11 asks it for names of types as a programmer writes them, for messages that no user sees. That
// code is a seventh of the binding. Without it the names stay as the compiler has them.
#include <stddef.h>

extern "C" __attribute__((visibility("hidden"))) char* __cxa_demangle(const char*, char*, size_t*, int* status) {
  if (status) *status = -1;
  return nullptr;
}
