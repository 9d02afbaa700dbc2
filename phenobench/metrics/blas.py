"""BLAS's float32 product that adds to what is there, which numpy has not: as scipy offers it to compiled code."""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_float, c_int, c_void_p

import numpy as np
from numba.extending import get_cython_function_address

_FLAG, _SIZE, _FACTOR, _MATRIX = c_char_p, POINTER(c_int), POINTER(c_float), c_void_p
_sgemm = CFUNCTYPE(
    None, _FLAG, _FLAG, _SIZE, _SIZE, _SIZE, _FACTOR, _MATRIX, _SIZE, _MATRIX, _SIZE, _FACTOR, _MATRIX, _SIZE
)(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))
_ONE, _ZERO = c_float(1.0), c_float(0.0)


def product(rows: np.ndarray, others: np.ndarray, out: np.ndarray, *, add: bool) -> None:
    """Products of all rows with all others; Python's lock is not held.

    Args:
        rows: float32 (r, d), of whose rows each is contiguous.
        others: likewise (o, d).
        out: float32 (r, o), contiguous.
        add: whether to add to what is there, and not to overwrite it.
    """
    # BLAS has columns where numpy has rows: out.T = others @ rows.T.
    sizes = (len(others), len(rows), rows.shape[1], _length(others), _length(rows), len(others))
    o, r, d, others_length, rows_length, out_length = (byref(c_int(size)) for size in sizes)
    matrices = (matrix.ctypes.data for matrix in (others, rows, out))
    left, right, into = matrices
    factor = byref(_ONE if add else _ZERO)
    _sgemm(b"T", b"N", o, r, d, byref(_ONE), left, others_length, right, rows_length, factor, into, out_length)


def _length(rows: np.ndarray) -> int:
    """Values from one row to the next."""
    return max(1, rows.strides[0] // rows.itemsize)
