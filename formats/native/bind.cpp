// The only file of formats/native that knows of pybind11: checks sizes, releases the GIL, turns status codes into None or arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arithmetic.h"
#include "crc32.h"
#include "huffman.h"
#include "rans.h"
#include "streams.h"

namespace py = pybind11;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;
using Bytes = Array<uint8_t>;

constexpr const char* kTooShort = "a lane ends before its symbols do";

// ---------------------------------------------------------------- Huffman

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

void check_tuples(unsigned p, unsigned width) {
  if (!thin::TupleExpander::fits(p, width)) throw py::value_error("tuples have 1 to 12 bits");
}

// (uint8[alphabet], bytes taken), or None if it is no list of code lengths.
py::object code_lengths(const Bytes& payload, size_t alphabet) {
  if (alphabet < 1 || alphabet > thin::kMaxAlphabet) return py::none();
  Bytes lengths(static_cast<py::ssize_t>(alphabet));
  const size_t used = thin::huffman_lengths(payload.data(), static_cast<size_t>(payload.size()), alphabet, lengths.mutable_data());
  return used ? py::make_tuple(lengths, used) : py::object(py::none());
}

py::tuple huffman_symbols(const Bytes& payload, const std::vector<size_t>& sizes, const Bytes& lengths, size_t count) {
  Request request = request_of(payload, sizes, lengths, count);
  if (too_many(payload, count)) return py::make_tuple(py::none(), kTooShort);
  Array<uint16_t> out(static_cast<py::ssize_t>(count));
  uint16_t* to = out.mutable_data();
  std::string problem = run(request, [&](const thin::HuffmanTable& table) { return thin::huffman_symbols(table, request.stream, to); });
  return py::make_tuple(out, problem);
}

py::tuple huffman_tuples(const Bytes& payload, const std::vector<size_t>& sizes, const Bytes& lengths, size_t count, unsigned p,
                         unsigned width) {
  Request request = request_of(payload, sizes, lengths, count);
  check_tuples(p, width);
  if (lengths.size() > 1 << (p * width)) throw py::value_error("a symbol is no tuple");
  if (too_many(payload, count)) return py::make_tuple(py::none(), kTooShort);
  Bytes out(static_cast<py::ssize_t>(count * p));
  uint8_t* to = out.mutable_data();
  std::string problem = run(request, [&](const thin::HuffmanTable& table) {
    auto expander = std::make_unique<thin::TupleExpander>(p, width);
    return thin::huffman_tuples(table, request.stream, p, *expander, to);
  });
  return py::make_tuple(out, problem);
}

// ---------------------------------------------------------------- rANS

template <typename Decode>
std::string run_rans(const Array<uint32_t>& frequencies, unsigned bits, Decode decode) {
  const uint32_t* data = frequencies.data();
  const size_t alphabet = static_cast<size_t>(frequencies.size());
  py::gil_scoped_release release;
  auto table = std::make_unique<thin::RansTable>();
  thin::RansStatus status = thin::rans_table(data, alphabet, bits, table.get());
  if (status == thin::RansStatus::ok) status = decode(*table);
  switch (status) {
    case thin::RansStatus::ok: return "";
    case thin::RansStatus::bad_frequencies: return "the frequencies or the number of lanes are not valid";
    case thin::RansStatus::too_short: return "the states are out of range, or the words end before the symbols do";
    case thin::RansStatus::bad_end: return "the states do not end where they began";
  }
  return "unknown status";
}

py::tuple rans_symbols(const Bytes& payload, unsigned lanes, const Array<uint32_t>& frequencies, unsigned bits, size_t count) {
  thin::RansStream stream{payload.data(), static_cast<size_t>(payload.size()), lanes, count};
  Array<uint16_t> out(static_cast<py::ssize_t>(count));
  uint16_t* to = out.mutable_data();
  size_t used = 0;
  std::string problem = run_rans(frequencies, bits, [&](const thin::RansTable& table) { return thin::rans_symbols(table, stream, to, &used); });
  return py::make_tuple(out, used, problem);
}

py::tuple rans_tuples(const Bytes& payload, unsigned lanes, const Array<uint32_t>& frequencies, unsigned bits, size_t count, unsigned p,
                      unsigned width) {
  check_tuples(p, width);
  if (frequencies.size() > 1 << (p * width)) throw py::value_error("a symbol is no tuple");
  thin::RansStream stream{payload.data(), static_cast<size_t>(payload.size()), lanes, count};
  Bytes out(static_cast<py::ssize_t>(count * p));
  uint8_t* to = out.mutable_data();
  size_t used = 0;
  std::string problem = run_rans(frequencies, bits, [&](const thin::RansTable& table) {
    auto expander = std::make_unique<thin::TupleExpander>(p, width);
    return thin::rans_tuples(table, stream, p, *expander, to, &used);
  });
  return py::make_tuple(out, used, problem);
}

py::bytes rans_encode(const Array<uint16_t>& symbols, const Array<uint32_t>& frequencies, unsigned bits, unsigned lanes) {
  if (lanes == 0 || lanes > thin::kMaxRansLanes || bits > thin::kMaxRansBits) throw py::value_error("there are 1 to 8 lanes and 0 to 15 bits");
  const size_t count = static_cast<size_t>(symbols.size()), room = thin::rans_room(count, lanes);
  std::vector<uint8_t> out(room);
  size_t used;
  {
    py::gil_scoped_release release;
    used = thin::rans_encode(symbols.data(), count, frequencies.data(), static_cast<size_t>(frequencies.size()), bits, lanes, out.data());
  }
  if (used == 0) throw py::value_error("a symbol has no frequency");
  return py::bytes(reinterpret_cast<const char*>(out.data() + room - used), used);
}

// ---------------------------------------------------------------- arithmetic

thin::ArithmeticStream arithmetic_stream(unsigned alphabet, unsigned width, unsigned contexts, size_t count, size_t row,
                                         const std::optional<Array<uint32_t>>& columns) {
  if (width < 1 || width > 8 || alphabet < 1 || alphabet > 256) throw py::value_error("elements have 1 to 8 bits");
  const uint32_t* places = nullptr;
  if (columns && row && (contexts & thin::kColumn)) {
    places = columns->data();
    if (static_cast<size_t>(columns->size()) != count) throw py::value_error("each element has one column");
    if (count && *std::max_element(places, places + count) >= row) throw py::value_error("a column is outside the row");
  }
  return {alphabet, width, contexts, count, row, places};
}

py::tuple arithmetic_encode(const Bytes& elements, unsigned alphabet, unsigned width, unsigned contexts, size_t row,
                            const std::optional<Array<uint32_t>>& columns) {
  auto stream = arithmetic_stream(alphabet, width, contexts, static_cast<size_t>(elements.size()), row, columns);
  const uint8_t* from = elements.data();
  thin::ArithmeticCode code;
  {
    py::gil_scoped_release release;
    code = thin::arithmetic_encode(stream, from);
  }
  return py::make_tuple(py::bytes(reinterpret_cast<const char*>(code.bytes.data()), code.bytes.size()), code.kept);
}

py::tuple arithmetic_decode(const Bytes& payload, size_t count, unsigned alphabet, unsigned width, unsigned contexts, size_t row,
                            const std::optional<Array<uint32_t>>& columns) {
  auto stream = arithmetic_stream(alphabet, width, contexts, count, row, columns);
  const uint8_t* from = payload.data();
  const size_t nbytes = static_cast<size_t>(payload.size());
  Bytes out(static_cast<py::ssize_t>(count));
  uint8_t* to = out.mutable_data();
  size_t used = 0;
  bool is_whole;
  {
    py::gil_scoped_release release;
    is_whole = thin::arithmetic_decode(stream, from, nbytes, to, &used);
  }
  return py::make_tuple(out, used, is_whole ? "" : "the digits end before the elements do, or are more than a code can be");
}

// ---------------------------------------------------------------- streams

constexpr size_t kMostPerByte = 64;  // elements: what has more is made when it is known to be right

// (uint8[count * planes], bytes taken): `planes` streams one after another, element by element side by side. None: not read here (streams.h).
py::object streams(const Bytes& payload, const std::string& coder, size_t count, unsigned alphabet, unsigned width, unsigned planes) {
  const thin::Coder how = coder == "raw" ? thin::Coder::raw : coder == "huffman" ? thin::Coder::huffman : thin::Coder::rans;
  const size_t nbytes = static_cast<size_t>(payload.size());
  if (alphabet < 1 || alphabet > 256 || width < 1 || width > 8 || planes < 1 || count > kMostPerByte * nbytes) return py::none();
  Bytes out(static_cast<py::ssize_t>(count * planes + thin::kStreamRoom));
  std::vector<uint8_t> plane(planes > 1 ? count + thin::kStreamRoom : 0);
  size_t at = 0;
  for (unsigned i = 0; i < planes; i++) {
    size_t used;
    uint8_t* to = planes > 1 ? plane.data() : out.mutable_data();
    if (!thin::read_stream(payload.data() + at, nbytes - at, how, {count, alphabet, width}, true, to, &used)) return py::none();
    at += used;
    for (size_t k = 0; planes > 1 && k < count; k++) out.mutable_data()[k * planes + i] = plane[k];
  }
  return py::make_tuple(Bytes(static_cast<py::ssize_t>(count * planes), out.data(), out), at);
}

// ---------------------------------------------------------------- CRC-32

uint32_t crc32(const py::buffer& data, uint32_t before) {
  const py::buffer_info info = data.request();
  const uint8_t* from = static_cast<const uint8_t*>(info.ptr);
  const size_t count = static_cast<size_t>(info.size) * static_cast<size_t>(info.itemsize);
  if (!PyBuffer_IsContiguous(info.view(), 'C')) throw py::value_error("the bytes do not lie in one piece");
  py::gil_scoped_release release;
  return thin::crc32(from, count, before);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "Entropy coders of .thin files. What decodes returns (array or None, bytes used (not Huffman), what was wrong or an empty string).";
  m.def("code_lengths", &code_lengths, py::arg("payload"), py::arg("alphabet"), "(uint8[alphabet], bytes taken), or None if it is no complete code");
  m.def("streams", &streams, py::arg("payload"), py::arg("coder"), py::arg("count"), py::arg("alphabet"), py::arg("width"), py::arg("planes"),
        "(uint8[count * planes], bytes taken) of streams that are packed or coded by Huffman, or None: not such, or something is wrong");
  m.def("huffman_symbols", &huffman_symbols, py::arg("payload"), py::arg("sizes"), py::arg("lengths"), py::arg("count"), "uint16[count]");
  m.def("huffman_tuples", &huffman_tuples, py::arg("payload"), py::arg("sizes"), py::arg("lengths"), py::arg("count"), py::arg("p"),
        py::arg("width"), "uint8[count * p]: the elements of tuples of p elements of width bits");
  m.def("rans_symbols", &rans_symbols, py::arg("payload"), py::arg("lanes"), py::arg("frequencies"), py::arg("bits"), py::arg("count"),
        "uint16[count]");
  m.def("rans_tuples", &rans_tuples, py::arg("payload"), py::arg("lanes"), py::arg("frequencies"), py::arg("bits"), py::arg("count"),
        py::arg("p"), py::arg("width"), "uint8[count * p]: the elements of tuples of p elements of width bits");
  m.def("rans_encode", &rans_encode, py::arg("symbols"), py::arg("frequencies"), py::arg("bits"), py::arg("lanes"), "states and words");
  m.def("arithmetic_encode", &arithmetic_encode, py::arg("elements"), py::arg("alphabet"), py::arg("width"), py::arg("contexts"),
        py::arg("row"), py::arg("columns"), "(digits, how many of the last eight are kept)");
  m.def("arithmetic_decode", &arithmetic_decode, py::arg("payload"), py::arg("count"), py::arg("alphabet"), py::arg("width"),
        py::arg("contexts"), py::arg("row"), py::arg("columns"), "uint8[count]");
  if (thin::crc32_runs()) {
    m.def("crc32", &crc32, py::arg("data"), py::arg("value") = 0, "As zlib.crc32, by the CPU's own instructions; absent where it has none");
  }
}
