// The only file of formats/native that knows of pybind11: checks sizes, releases the GIL, turns status codes into None or arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "huffman.h"

namespace py = pybind11;

namespace {

using Bytes = py::array_t<uint8_t, py::array::c_style>;

constexpr const char* kTooShort = "a lane ends before its symbols do";

struct Request {
  thin::HuffmanStream stream;
  const uint8_t* lengths;
  size_t alphabet;
};

Request request_of(const Bytes& payload, const std::vector<size_t>& sizes, const Bytes& lengths, size_t count) {
  size_t total = 0, room = static_cast<size_t>(payload.size());
  for (size_t size : sizes) {
    if (size > room - total) throw py::value_error("the lanes are longer than the payload");
    total += size;
  }
  if (sizes.empty() || sizes.size() > thin::kMaxLanes) throw py::value_error("there must be 1, 2, 4 or 8 lanes");
  return {{payload.data(), sizes.data(), static_cast<unsigned>(sizes.size()), count}, lengths.data(), static_cast<size_t>(lengths.size())};
}

// A code has a bit at least, so more symbols than bits cannot be; known before anything of their size is made.
bool too_many(const Bytes& payload, size_t count) { return count > 8 * static_cast<size_t>(payload.size()); }

// Calls `decode(table)` without the GIL and returns a message, empty if all went well.
template <typename Decode>
std::string run(const Request& request, Decode decode) {
  py::gil_scoped_release release;
  auto table = std::make_unique<thin::HuffmanTable>();
  thin::HuffmanStatus status = thin::huffman_table(request.lengths, request.alphabet, table.get());
  if (status == thin::HuffmanStatus::ok) status = decode(*table);
  switch (status) {
    case thin::HuffmanStatus::ok: return "";
    case thin::HuffmanStatus::bad_code: return "the code or the number of lanes is not valid";
    case thin::HuffmanStatus::lane_too_short: return kTooShort;
    case thin::HuffmanStatus::lane_too_long: return "a lane goes on after its symbols, or is not filled up with zeros";
  }
  return "unknown status";
}

py::tuple symbols(const Bytes& payload, const std::vector<size_t>& sizes, const Bytes& lengths, size_t count) {
  Request request = request_of(payload, sizes, lengths, count);
  if (too_many(payload, count)) return py::make_tuple(py::none(), kTooShort);
  py::array_t<uint16_t> out(static_cast<py::ssize_t>(count));
  uint16_t* to = out.mutable_data();
  std::string problem = run(request, [&](const thin::HuffmanTable& table) { return thin::huffman_symbols(table, request.stream, to); });
  return py::make_tuple(out, problem);
}

py::tuple tuples(const Bytes& payload, const std::vector<size_t>& sizes, const Bytes& lengths, size_t count, unsigned p, unsigned width) {
  Request request = request_of(payload, sizes, lengths, count);
  if (p == 0 || p > 12) throw py::value_error("tuples have 1 to 12 elements");
  if (too_many(payload, count)) return py::make_tuple(py::none(), kTooShort);
  py::array_t<uint8_t> out(static_cast<py::ssize_t>(count * p));
  uint8_t* to = out.mutable_data();
  std::string problem = run(request, [&](const thin::HuffmanTable& table) {
    auto spread = std::make_unique<uint64_t[]>(thin::kMaxAlphabet);
    return thin::huffman_tuples(table, request.stream, p, width, spread.get(), to);
  });
  return py::make_tuple(out, problem);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "Huffman decoder of .thin files. Both functions return (array or None, what was wrong or an empty string).";
  m.def("symbols", &symbols, py::arg("payload"), py::arg("sizes"), py::arg("lengths"), py::arg("count"), "uint16[count]");
  m.def("tuples", &tuples, py::arg("payload"), py::arg("sizes"), py::arg("lengths"), py::arg("count"), py::arg("p"), py::arg("width"),
        "uint8[count * p]: the elements of tuples of p elements of width bits");
}
