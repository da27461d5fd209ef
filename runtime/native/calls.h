// Python callables that run an engine with as little Python around it as there can be.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <tuple>
#include <vector>

#include "engine.h"

namespace thinfer {

// (name, dtype, shape) of an array; and for outputs and inputs of the engine their place among its inputs or outputs, else -1.
typedef std::tuple<pybind11::str, pybind11::dtype, std::vector<pybind11::ssize_t>, int> ArraySpec;

constexpr size_t kMostInputs = 16;

// f(feeds) -> dict of new arrays by the names of `outputs`, or None if the feeds are not exactly one C-contiguous array of the dtype
// and shape of each of `inputs`: then the caller finds out what they are. `owner` keeps `engine` alive. The GIL is released if `release`.
// No function but None where there are more than kMostInputs inputs.
pybind11::object make_caller(pybind11::object owner, Engine* engine, const std::vector<ArraySpec>& inputs,
                             const std::vector<ArraySpec>& outputs, bool release);

// f() -> `result`, after running on the memory of these arrays, which are what the engine takes and makes, in its order.
pybind11::object make_bound(pybind11::object owner, Engine* engine, const std::vector<pybind11::array>& inputs,
                            const std::vector<pybind11::array>& outputs, pybind11::object result, bool release);

}  // namespace thinfer
