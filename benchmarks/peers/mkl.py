"""Intel MKL's sparse products (CSR) through sparse_dot_mkl, and SciPy's for comparison: variants ``csr`` and ``scipy``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .interface import Case, Loaded, products


def load(case: Case) -> Loaded:
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(case.w)
    nbytes = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    if case.variant == "scipy":
        return products(case, lambda columns: matrix @ columns, "scipy", nbytes)
    os.environ["MKL_RT"] = str(next((Path(sys.prefix) / "lib").glob("libmkl_rt.so*")))
    import sparse_dot_mkl

    sparse_dot_mkl.mkl_set_num_threads(case.threads)
    return products(case, lambda columns: sparse_dot_mkl.dot_product_mkl(matrix, columns), "mkl", nbytes)
