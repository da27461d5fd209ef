// The engine as Python sees it: this file and calls.cpp are the only ones of it that know Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "calls.h"
#include "dispatch.h"
#include "engine.h"
#include "panels.h"

namespace py = pybind11;
using thinfer::ArenaPool;
using thinfer::Buffer;
using thinfer::Engine;
using thinfer::ThreadPool;

namespace {

std::vector<std::string> levels() {
  std::vector<std::string> found;
  for (int isa = 0; isa < THIN_ISA_LEVELS; isa++)
    if (thin_isa_runs(isa)) found.push_back(thin_isa_name(isa));
  return found;
}

int level_of(const std::string& name) {
  for (int isa = 0; isa < THIN_ISA_LEVELS; isa++)
    if (name == thin_isa_name(isa) && thin_isa_runs(isa)) return isa;
  throw py::value_error("this CPU does not run the ISA level '" + name + "'");
}

// (kernel, ISA level, layout) of every line of kernels.inc that this build holds.
std::vector<std::tuple<std::string, std::string, std::string>> kernels() {
  std::vector<std::tuple<std::string, std::string, std::string>> rows;
  for (size_t i = 0; i < thin_kernel_count; i++)
    rows.emplace_back(thin_kernels[i].name, thin_isa_name(thin_kernels[i].isa), thin_kernels[i].layout);
  return rows;
}

// The level of the row that would run, or None.
py::object resolve(const std::string& name, const std::string& isa) {
  const ThinKernelRow* row = thin_find(name.c_str(), level_of(isa));
  return row ? py::object(py::str(thin_isa_name(row->isa))) : py::object(py::none());
}

// int64[groups * outputs]: the sums of the weights, which are put into the panels `out`. See panels.h.
py::array_t<int64_t> pack_panels(const py::array_t<uint8_t, py::array::c_style>& w, uint8_t flip, py::array_t<uint8_t, py::array::c_style> out) {
  if (w.ndim() != 3) throw py::value_error("weights have groups, outputs and columns");
  const int64_t groups = w.shape(0), outputs = w.shape(1), columns = w.shape(2);
  const int64_t nbytes = (outputs + 15) / 16 * 64 * ((columns + 3) / 4);
  if (out.nbytes() != groups * nbytes) throw py::value_error("the panels take another number of bytes");
  py::array_t<int64_t> sums(groups * outputs);
  for (int64_t group = 0; group < groups; group++)
    thinfer::pack_panels(w.data() + group * outputs * columns, outputs, columns, flip, out.mutable_data() + group * nbytes,
                         sums.mutable_data() + group * outputs);
  return sums;
}

struct Runner {
  std::unique_ptr<Engine> engine;
  std::vector<py::array> keep;  // the weights' memory

  Runner(py::array_t<int64_t, py::array::c_style> program, const std::vector<std::string>& names, const std::string& isa,
         std::vector<py::array> weights, std::vector<int64_t> input_bytes, std::vector<int64_t> output_bytes,
         int64_t arena_bytes, int64_t scratch_bytes, std::shared_ptr<ThreadPool> pool, std::shared_ptr<ArenaPool> arenas)
      : keep(std::move(weights)) {
    std::vector<ThinKernelFn> table;
    for (const std::string& name : names) {
      const ThinKernelRow* row = thin_find(name.c_str(), level_of(isa));
      if (!row) throw py::value_error("there is no kernel '" + name + "' at or below the ISA level '" + isa + "'");
      table.push_back(row->fn);
    }
    std::vector<Buffer> buffers;
    for (const py::array& weight : keep) buffers.push_back({weight.data(), static_cast<int64_t>(weight.nbytes())});
    engine = std::make_unique<Engine>(program.data(), static_cast<size_t>(program.size()), std::move(table), std::move(buffers),
                                      std::move(input_bytes), std::move(output_bytes), arena_bytes, scratch_bytes,
                                      std::move(pool), arenas ? std::move(arenas) : std::make_shared<ArenaPool>());
  }

  static const void* checked(const py::handle& item, int64_t nbytes, const char* what) {
    const py::array array = py::reinterpret_borrow<py::array>(item);
    if (static_cast<int64_t>(array.nbytes()) != nbytes || !(array.flags() & py::array::c_style))
      throw py::value_error(std::string(what) + " is not C-contiguous or has the wrong number of bytes");
    return array.data();
  }

  static py::object bound(py::object self, const std::vector<py::array>& inputs, const std::vector<py::array>& outputs, py::object result,
                          bool release) {
    const Runner& runner = self.cast<Runner&>();
    runner.check_counts(inputs.size(), outputs.size());
    for (size_t i = 0; i < inputs.size(); i++) checked(inputs[i], runner.engine->input_bytes(i), "an input");
    for (size_t i = 0; i < outputs.size(); i++) checked(outputs[i], runner.engine->output_bytes(i), "an output");
    return thinfer::make_bound(self, runner.engine.get(), inputs, outputs, std::move(result), release);
  }

  void check_counts(size_t inputs, size_t outputs) const {
    if (inputs != engine->inputs() || outputs != engine->outputs()) throw py::value_error("wrong number of inputs or outputs");
  }

  void run(const py::tuple& inputs, const py::tuple& outputs) { run_timed(inputs, outputs, nullptr); }

  py::array_t<int64_t> timed(const py::tuple& inputs, const py::tuple& outputs) {
    py::array_t<int64_t> times(static_cast<py::ssize_t>(engine->steps()));
    run_timed(inputs, outputs, times.mutable_data());
    return times;
  }

  void run_timed(const py::tuple& inputs, const py::tuple& outputs, int64_t* times) {
    check_counts(inputs.size(), outputs.size());
    const Engine::Call call = engine->begin();
    try {
      for (size_t i = 0; i < inputs.size(); i++) call.inputs[i] = checked(inputs[i], engine->input_bytes(i), "an input");
      for (size_t i = 0; i < outputs.size(); i++)
        call.outputs[i] = const_cast<void*>(checked(outputs[i], engine->output_bytes(i), "an output"));
    } catch (...) {
      engine->cancel(call);
      throw;
    }
    py::gil_scoped_release release;
    engine->run(call, times);
  }
};

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "The native engine and its kernels.";
  m.def("levels", &levels, "ISA levels that this build holds and this CPU runs, weakest first.");
  m.def("kernels", &kernels, "(kernel, ISA level, layout) of every kernel in the build, best first.");
  m.def("resolve", &resolve, py::arg("name"), py::arg("isa"), "The level of the kernel that would run at `isa`, or None.");
  m.def("pack_panels", &pack_panels, py::arg("w"), py::arg("flip"), py::arg("out").noconvert(),
        "Puts int8 weights [groups, outputs, columns] into panels; int64[groups * outputs]: their sums.");
  py::class_<ThreadPool, std::shared_ptr<ThreadPool>>(m, "ThreadPool").def(py::init<int>(), py::arg("threads"));
  py::class_<ArenaPool, std::shared_ptr<ArenaPool>>(m, "ArenaPool", "Working memory that engines share.")
      .def(py::init<>())
      .def_property_readonly("nbytes", &ArenaPool::nbytes)
      .def_property_readonly("blocks", &ArenaPool::blocks);
  py::class_<Runner>(m, "Engine")
      .def(py::init<py::array_t<int64_t, py::array::c_style>, const std::vector<std::string>&, const std::string&,
                    std::vector<py::array>, std::vector<int64_t>, std::vector<int64_t>, int64_t, int64_t,
                    std::shared_ptr<ThreadPool>, std::shared_ptr<ArenaPool>>(),
           py::arg("program"), py::arg("kernels"), py::arg("isa"), py::arg("weights"), py::arg("input_bytes"),
           py::arg("output_bytes"), py::arg("arena_bytes"), py::arg("scratch_bytes"), py::arg("pool"),
           py::arg("arenas") = std::shared_ptr<ArenaPool>())
      .def("run", &Runner::run, py::arg("inputs"), py::arg("outputs"),
           "One inference: arrays are C-contiguous and of the exact size; the GIL is released meanwhile.")
      .def("caller", [](py::object self, const std::vector<thinfer::ArraySpec>& inputs, const std::vector<thinfer::ArraySpec>& outputs,
                        bool release) { return thinfer::make_caller(self, self.cast<Runner&>().engine.get(), inputs, outputs, release); },
           py::arg("inputs"), py::arg("outputs"), py::arg("release"),
           "f(feeds) -> outputs by name, or None if the feeds are not exactly such. Each input and output: (name, dtype, shape, place).")
      .def("bound", &Runner::bound, py::arg("inputs"), py::arg("outputs"), py::arg("result"), py::arg("release"),
           "f() -> result, after a run on these arrays.")
      .def("timed", &Runner::timed, py::arg("inputs"), py::arg("outputs"), "As run; returns the nanoseconds of each step, int64.")
      .def_property_readonly("arena_bytes", [](const Runner& r) { return r.engine->arena_bytes(); });
}
