#include "calls.h"

#include <memory>
#include <new>

namespace py = pybind11;

namespace thinfer {
namespace {

struct Slot {
  py::object name;
  py::object dtype;
  std::vector<Py_intptr_t> shape;
  int place;  // among the engine's inputs or outputs; -1: it does not read it
};

struct Caller {
  py::object owner;
  Engine* engine;
  std::vector<Slot> inputs, outputs;
  bool release;
};

struct Bound {
  py::object owner;
  Engine* engine;
  std::vector<py::array> keep;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  py::object result;
  bool release;
};

void run(Engine* engine, const Engine::Call& call, bool release) {
  if (!release) return engine->run(call);
  PyThreadState* thread = PyEval_SaveThread();
  engine->run(call);
  PyEval_RestoreThread(thread);
}

// The array's memory if it is what the slot says, else null.
const void* memory_of(PyObject* object, const Slot& slot) {
  if (!object || Py_TYPE(object) != py::detail::npy_api::get().PyArray_Type_) return nullptr;
  const py::detail::PyArray_Proxy* array = py::detail::array_proxy(object);
  constexpr int kPlain = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (array->descr != slot.dtype.ptr() || (array->flags & kPlain) != kPlain) return nullptr;
  if (static_cast<size_t>(array->nd) != slot.shape.size()) return nullptr;
  for (size_t i = 0; i < slot.shape.size(); i++)
    if (array->dimensions[i] != slot.shape[i]) return nullptr;
  return array->data;
}

// A new array as the slot says, under the slot's name in `made`; null with a Python error if there is no memory.
void* add_array(PyObject* made, const Slot& slot) {
  const auto& api = py::detail::npy_api::get();
  PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, slot.dtype.inc_ref().ptr(), static_cast<int>(slot.shape.size()),
                                              slot.shape.data(), nullptr, nullptr, 0, nullptr);
  if (!array) return nullptr;
  void* data = py::detail::array_proxy(array)->data;
  const int failed = PyDict_SetItem(made, slot.name.ptr(), array);
  Py_DECREF(array);
  return failed ? nullptr : data;
}

// What ends without an array or with too little memory is left to the slower way, which says it in words.
PyObject* not_here() {
  PyErr_Clear();
  Py_RETURN_NONE;
}

PyObject* call_caller(PyObject* self, PyObject* feeds) {
  const Caller& caller = *static_cast<Caller*>(PyCapsule_GetPointer(self, nullptr));
  if (!PyDict_CheckExact(feeds) || static_cast<size_t>(PyDict_Size(feeds)) != caller.inputs.size()) return not_here();
  Engine::Call call{};
  try {
    call = caller.engine->begin();
  } catch (const std::bad_alloc&) {
    return not_here();
  }
  PyObject* held[kMostInputs];  // the dict may change while others run Python
  size_t nheld = 0;
  bool fits = true;
  for (const Slot& slot : caller.inputs) {
    PyObject* array = PyDict_GetItemWithError(feeds, slot.name.ptr());
    const void* memory = memory_of(array, slot);
    if (!(fits = memory != nullptr)) break;
    Py_INCREF(held[nheld++] = array);
    if (slot.place >= 0) call.inputs[slot.place] = memory;
  }
  PyObject* made = fits ? PyDict_New() : nullptr;
  fits = made != nullptr;
  for (size_t i = 0; fits && i < caller.outputs.size(); i++) {
    void* memory = add_array(made, caller.outputs[i]);
    if ((fits = memory != nullptr)) call.outputs[caller.outputs[i].place] = memory;
  }
  if (fits)
    run(caller.engine, call, caller.release);
  else
    caller.engine->cancel(call);
  while (nheld) Py_DECREF(held[--nheld]);
  if (fits) return made;
  Py_XDECREF(made);
  return not_here();
}

PyObject* call_bound(PyObject* self, PyObject*) {
  const Bound& bound = *static_cast<Bound*>(PyCapsule_GetPointer(self, nullptr));
  Engine::Call call{};
  try {
    call = bound.engine->begin();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  for (size_t i = 0; i < bound.inputs.size(); i++) call.inputs[i] = bound.inputs[i];
  for (size_t i = 0; i < bound.outputs.size(); i++) call.outputs[i] = bound.outputs[i];
  run(bound.engine, call, bound.release);
  return py::reinterpret_borrow<py::object>(bound.result).release().ptr();
}

PyMethodDef caller_method = {"run", call_caller, METH_O, "Outputs by name for feeds by name, or None if the feeds are of another kind."};
PyMethodDef bound_method = {"run", call_bound, METH_NOARGS, "Runs on the arrays that were bound; returns the outputs by name."};

template <typename T>
py::object function(PyMethodDef* method, std::unique_ptr<T> state) {
  py::object capsule = py::reinterpret_steal<py::object>(PyCapsule_New(
      state.get(), nullptr, [](PyObject* self) { delete static_cast<T*>(PyCapsule_GetPointer(self, nullptr)); }));
  if (!capsule) throw py::error_already_set();
  state.release();  // the capsule has it now
  py::object made = py::reinterpret_steal<py::object>(PyCFunction_New(method, capsule.ptr()));
  if (!made) throw py::error_already_set();
  return made;
}

std::vector<Slot> slots(const std::vector<ArraySpec>& specs) {
  std::vector<Slot> found;
  for (const auto& [name, dtype, shape, place] : specs) found.push_back({name, dtype, {shape.begin(), shape.end()}, place});
  return found;
}

}  // namespace

py::object make_caller(py::object owner, Engine* engine, const std::vector<ArraySpec>& inputs, const std::vector<ArraySpec>& outputs,
                       bool release) {
  if (inputs.size() > kMostInputs) return py::none();
  return function(&caller_method, std::unique_ptr<Caller>(new Caller{std::move(owner), engine, slots(inputs), slots(outputs), release}));
}

py::object make_bound(py::object owner, Engine* engine, const std::vector<py::array>& inputs, const std::vector<py::array>& outputs,
                      py::object result, bool release) {
  std::unique_ptr<Bound> bound(new Bound{std::move(owner), engine, {}, {}, {}, std::move(result), release});
  for (const py::array& array : inputs) bound->inputs.push_back(array.data());
  for (const py::array& array : outputs) bound->outputs.push_back(const_cast<void*>(array.data()));
  bound->keep = inputs;
  bound->keep.insert(bound->keep.end(), outputs.begin(), outputs.end());
  return function(&bound_method, std::move(bound));
}

}  // namespace thinfer
