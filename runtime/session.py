"""Sessions: a loaded model that runs."""

from __future__ import annotations

import gc
import os
from _thread import allocate_lock
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..formats.errors import ThinferError
from ..formats.value_info import ValueInfo
from ..kernels import isa
from .errors import enough_memory
from .feeds import Feeds, InputError, checked_bound_inputs, checked_bound_outputs, checked_feeds
from .model_file import ModelFile
from .planner import Planner, Shapes
from .stage import KeptPlan, Target

if TYPE_CHECKING:
    from ..formats.graph import Graph
    from .numba import NumbaNodes
    from .plan import Plan
    from .profile import NodeProfile
    from .tuning import Timed

BACKENDS = ("native", "numba", "numpy")
MOST_PLANS = 8
"""Plans kept per session, least recently used out first; packed weights are shared by all of them."""
MANY = 10_000
"""Objects that a load has made, from which on a search for cycles among them takes a millisecond."""

MOST_THREADS = 256


class BackendError(ThinferError, ValueError):
    """The backend or the number of threads that was asked for does not exist here."""


def load(model: str | os.PathLike[str] | Graph, *, backend: str | None = None, threads: int = 1,
         costs: str | os.PathLike[str] | None = None, cache: str | os.PathLike[str] | None = None) -> Session:
    """A session for a ``.thin`` file (or a Graph).

    ``backend``: "native" (kernels in C++), "numba" (compiled here by Numba, where that is installed) or "numpy"; None takes native or else
    numpy. ``threads``: of one ``run`` call (native, numba). ``costs``: a file that ``toolchain tune`` wrote on this device, for the planner; None
    takes the one that THINFER_COSTS names, if any. ``cache``: a folder for plans of files, which is made if need be, so that a later process
    loads the same file sooner (``plan_cache.py``); None takes the one that THINFER_PLANS names, if any.
    Raises FormatError (not a well-formed file), BackendError, CostsError, OpError (operators wrongly used or unknown), OSError (no such file),
    TypeError (no path and no Graph).
    """
    with uncollected():
        if isinstance(model, (str, os.PathLike)):
            return Session(ModelFile(model), backend=backend, threads=threads, costs=costs, cache=cache)
        from ..formats.graph import Graph, verify

        if not isinstance(model, Graph):
            raise TypeError(f"the model must be the path of a .thin file or a Graph, not {type(model).__name__}")
        return Session(verify(model), backend=backend, threads=threads, costs=costs)


class Session:
    """A model, ready to run. Safe to use from several threads at once."""

    def __init__(self, model: Graph | ModelFile, *, backend: str | None = None, threads: int = 1, costs: str | os.PathLike[str] | None = None,
                 cache: str | os.PathLike[str] | None = None) -> None:
        """As ``load``, of a Graph that is verified."""
        self.backend = _checked_backend(backend)
        if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MOST_THREADS:
            raise BackendError(f"threads is {threads!r}; it must be a whole number from 1 to {MOST_THREADS}")
        self._plans: OrderedDict[Shapes, Plan | KeptPlan] = OrderedDict()
        self._lock = allocate_lock()
        self._quick: Callable[[Feeds], dict[str, np.ndarray] | None] | None = None  # how the last plan that ran is called without detours
        native = isa.native() if self.backend == "native" else None
        self.isa = isa.selected() if native else None
        self.threads = threads
        try:
            pools = (native.ThreadPool(threads), native.ThreadPool(1)) if native else (None, None)
        except RuntimeError as error:
            raise BackendError(f"the system does not grant {threads} threads ({error}); use fewer") from None
        self._target = Target(self.isa, threads, pools[0], pools[1], native.ArenaPool() if native else None, self._numba_nodes(),
                              self._factors(costs))
        self._planner = Planner(model, self._target, cache or os.environ.get("THINFER_PLANS"))
        self._weights = self._planner.weights
        shapes, plan = self._planner.first()
        if plan is not None:
            self._plans[shapes] = plan

    def _factors(self, costs: str | os.PathLike[str] | None) -> Mapping[str, float] | None:
        """Measured costs, if there is a file of such."""
        if self.isa is None or (costs is None and not os.environ.get("THINFER_COSTS")):
            return None
        from ..kernels.tuned import read

        return read(costs, self.isa)

    def _numba_nodes(self) -> NumbaNodes | None:
        if self.backend != "numba":
            return None
        from .numba import NumbaNodes

        return NumbaNodes(self.threads)

    @property
    def inputs(self) -> tuple[ValueInfo, ...]:
        """Name, dtype and shape of each input; symbolic dimensions by name."""
        return self._planner.inputs

    @property
    def outputs(self) -> tuple[ValueInfo, ...]:
        return self._planner.outputs

    @property
    def graph(self) -> Graph:
        return self._planner.graph

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The output of a model with one input and one output. Raises InputError if it has more."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise InputError(f"the model has {len(self.inputs)} inputs and {len(self.outputs)} outputs; use run with names")
        return next(iter(self.run({self.inputs[0].name: x}).values()))

    @overload
    def run(self, output_names: Feeds) -> dict[str, np.ndarray]: ...
    @overload
    def run(self, output_names: Sequence[str] | None, feeds: Feeds) -> list[np.ndarray]: ...

    def run(self, output_names: Any, feeds: Feeds | None = None) -> Any:
        """One inference.

        ``run(feeds)`` returns a dict by output name; ``run(output_names or None, feeds)`` returns a list, in onnxruntime's order.
        Raises InputError (names, shapes or dtypes), OpError (shapes that contradict the graph).
        """
        if feeds is None:
            quick = self._quick
            found = None if quick is None else quick(output_names)
            return self._run(output_names) if found is None else found
        found = self.run(feeds)
        if isinstance(output_names, str):
            raise InputError(f"output names must be a list or None, not the text {output_names!r}")
        names = [info.name for info in self.outputs] if output_names is None else list(output_names)
        unknown = [name for name in names if name not in found]
        if unknown:
            raise InputError(f"there is no output {unknown[0]!r}; the model's outputs are {', '.join(found)}")
        return [found[name] for name in names]

    def bind(self, inputs: Feeds, outputs: Feeds | None = None) -> Callable[[], dict[str, np.ndarray]]:
        """A function without arguments that runs on these very arrays, checked once, and returns the outputs by name.

        Each call reads what lies in the ``inputs`` then and overwrites ``outputs`` (those not given are made, once). All are C-contiguous, no output
        shares memory with another array. The function is for one thread at a time; as many as there are threads can be bound to one session.
        Raises InputError.
        """
        feeds = checked_bound_inputs(self.inputs, inputs)
        with enough_memory():
            plan = self._plan(tuple(array.shape for array in feeds.values()))
            return plan.bound(feeds, checked_bound_outputs(plan.results, outputs, feeds))

    def timed_ways(self, feeds: Feeds) -> list[Timed]:
        """Every way in which the nodes could run on inputs of these shapes, timed alone. For ``toolchain tune``."""
        from .tuning import ways

        arrays = checked_feeds(self.inputs, feeds)
        plan = self._whole_plan(tuple(arrays[info.name].shape for info in self.inputs))
        return list(ways(plan, self.isa)) if self.isa is not None else []

    def profile(self, feeds: Feeds) -> list[NodeProfile]:
        """One inference as ``run``: what each of its nodes took, in the order in which they ran. Steps are timed one by one, so the whole
        takes longer than ``run``, by some 50 ns a step."""
        arrays = checked_feeds(self.inputs, feeds)
        with enough_memory():
            return self._whole_plan(tuple(arrays[info.name].shape for info in self.inputs)).profile(arrays)

    def weight_memory(self) -> dict[str, dict[str, Any]]:
        """Weight name → {"layout": names of the layouts it is held in, "nbytes": bytes in RAM}, for every weight in RAM, and for those
        that wait for the first run because no shape before it tells how they are read (0 bytes)."""
        held = {name: {"layout": ", ".join(layout for layout, _ in forms), "nbytes": sum(size for _, size in forms)}
                for name, forms in self._weights.memory().items()}
        with self._lock:
            waiting = [plan.unplanned() for plan in self._plans.values()]
        missing = set.intersection(*waiting) if waiting else set(self.graph.weights)
        return held | {name: {"layout": "not planned yet", "nbytes": 0} for name in sorted(missing - held.keys())}

    def _run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        arrays = checked_feeds(self.inputs, feeds)
        with enough_memory():
            plan = self._plan(tuple(array.shape for array in arrays.values()))
            self._quick = plan.quick
            return plan.run_for_caller(arrays)

    def _plan(self, shapes: Shapes) -> Plan | KeptPlan:
        with self._lock:
            plan = self._plans.get(shapes)
            if plan is None:
                plan = self._added(shapes, self._planner.plan(shapes))
            self._plans.move_to_end(shapes)
            return plan

    def _whole_plan(self, shapes: Shapes) -> Plan:
        """The plan with all that it was made of, which no cache holds."""
        plan = self._plan(shapes)
        if not isinstance(plan, KeptPlan):
            return plan
        with self._lock:
            made = self._planner.made(shapes)
            self._added(shapes, made)
            return made

    def _added(self, shapes: Shapes, plan: Plan | KeptPlan) -> Plan | KeptPlan:
        self._plans[shapes] = plan
        if len(self._plans) > MOST_PLANS:
            self._plans.popitem(last=False)
        return plan


@contextmanager
def uncollected() -> Iterator[None]:
    """Python looks for no cycles meanwhile: planning makes tens of thousands of small objects and hardly any cycle, and each search goes through
    all that NumPy's import has left, a tenth of the time that loading takes. Afterwards all of them, if they are many, count as old, as they would
    after two searches, of which the first alone takes 2 ms."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            many = gc.get_count()[0] >= MANY  # asked first, as counting what is frozen goes through all of it
            if many and hasattr(gc, "freeze") and not gc.get_freeze_count():  # else unfreezing would undo what the caller has frozen
                gc.freeze()
                gc.unfreeze()  # into the oldest generation
            gc.enable()


def _checked_backend(backend: str | None) -> str:
    compiled = isa.native() is not None
    if backend is None:
        return "native" if compiled else "numpy"
    if backend not in BACKENDS:
        raise BackendError(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    if backend == "native" and not compiled:
        raise BackendError("this install has no compiled kernels (it was built without a C++ compiler); use backend='numpy', or 'numba'")
    if backend == "numba":
        from importlib.util import find_spec

        if find_spec("numba") is not None:
            return backend
        raise BackendError("backend 'numba' needs the package numba, which is not installed here: pip install 'thinfer[numba]'")
    return backend
