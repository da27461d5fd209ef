"""Products with the rows of an encoded weight (rows.py), compiled by Numba. One row at a time is expanded, never the whole weight.

Sums run in the order of K, four products at a time, whatever the number of threads. NaN and Inf travel as IEEE says: the compiler may
reorder sums of one dot product, but not assume that numbers are finite. What is absent of a sparse row is not looked at.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

ROWS = 4
PIXELS = 512
"""Columns of x that are multiplied at a time: four rows of sums stay in the first-level cache."""
SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, inline="always")
def expand(row, starts, counts, columns, plain, codes, bits, table, scales, zeros, block, out):
    """The values that a row holds → out[count rounded up to 8]; what fills up the last eight is finite."""
    first, padded = starts[row], (counts[row] + 7) // 8 * 8
    if bits == 0:
        for i in range(padded):
            out[i] = plain[first + i]
    elif bits == 16:
        for i in range(padded):
            out[i] = table[codes[first + i]]
    else:
        mask = (1 << bits) - 1
        at = first // 8 * bits
        for eight in range(padded // 8):
            word = np.uint64(0)
            for j in range(bits):
                word |= np.uint64(codes[at + j]) << np.uint64(8 * j)
            at += bits
            for j in range(8):
                out[eight * 8 + j] = table[np.int64(word >> np.uint64(bits * j)) & mask]
    if block > 0:
        grid = row if len(scales) > 1 else 0
        for i in range(counts[row]):
            at = (np.int64(columns[first + i]) if len(columns) > 0 else i) // block
            zero = np.float32(zeros[grid, at]) if len(zeros) > 0 else np.float32(0)
            out[i] = (out[i] - zero) * scales[grid, at]


@njit(cache=True, parallel=True, fastmath={"contract"})
def dense_columns(starts, counts, columns, plain, codes, table, tables, scale, scales, zeros, bits, block_inputs, first, last,
                  x, bias, y, at_pixel):
    """y[first:last] = scale · W x + bias for rows first … last of a dense W. x [K, P], y [rows of W, at_pixel + P or more]."""
    depth, pixels = x.shape
    for block in prange((last - first + ROWS - 1) // ROWS):
        rows = min(ROWS, last - first - block * ROWS)
        w = np.zeros((ROWS, depth + 8), np.float32)
        for r in range(rows):
            row = first + block * ROWS + r
            expand(row, starts, counts, columns, plain, codes, bits, table[tables[row]], scales, zeros, block_inputs, w[r])
        sums = np.empty((ROWS, PIXELS), np.float32)
        s0, s1, s2, s3 = sums[0], sums[1], sums[2], sums[3]
        for begin in range(0, pixels, PIXELS):
            n = min(PIXELS, pixels - begin)
            sums[:, :n] = 0
            k = 0
            while k + 4 <= depth:
                x0, x1, x2, x3 = x[k, begin:begin + n], x[k + 1, begin:begin + n], x[k + 2, begin:begin + n], x[k + 3, begin:begin + n]
                a0, a1, a2, a3 = w[0, k], w[0, k + 1], w[0, k + 2], w[0, k + 3]
                b0, b1, b2, b3 = w[1, k], w[1, k + 1], w[1, k + 2], w[1, k + 3]
                c0, c1, c2, c3 = w[2, k], w[2, k + 1], w[2, k + 2], w[2, k + 3]
                d0, d1, d2, d3 = w[3, k], w[3, k + 1], w[3, k + 2], w[3, k + 3]
                for p in range(n):
                    v0, v1, v2, v3 = x0[p], x1[p], x2[p], x3[p]
                    s0[p] = s0[p] + a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
                    s1[p] = s1[p] + b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
                    s2[p] = s2[p] + c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
                    s3[p] = s3[p] + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3
                k += 4
            while k < depth:
                for r in range(rows):
                    for p in range(n):
                        sums[r, p] += w[r, k] * x[k, begin + p]
                k += 1
            for r in range(rows):
                row = first + block * ROWS + r
                for p in range(n):
                    y[row, at_pixel + begin + p] = sums[r, p] * scale[row] + bias[row]


@njit(cache=True, parallel=True, fastmath={"contract"})
def sparse_columns(starts, counts, columns, plain, codes, table, tables, scale, scales, zeros, bits, block_inputs, first, last,
                   x, bias, y, at_pixel):
    """The same for a W whose rows hold some columns only."""
    pixels = x.shape[1]
    for row in prange(first, last):
        count = counts[row]
        w = np.empty(count + 8, np.float32)
        expand(row, starts, counts, columns, plain, codes, bits, table[tables[row]], scales, zeros, block_inputs, w)
        at = starts[row]
        sums = np.empty(PIXELS, np.float32)
        for begin in range(0, pixels, PIXELS):
            n = min(PIXELS, pixels - begin)
            sums[:n] = 0
            i = 0
            while i + 4 <= count:
                x0, x1 = x[columns[at + i], begin:begin + n], x[columns[at + i + 1], begin:begin + n]
                x2, x3 = x[columns[at + i + 2], begin:begin + n], x[columns[at + i + 3], begin:begin + n]
                w0, w1, w2, w3 = w[i], w[i + 1], w[i + 2], w[i + 3]
                for p in range(n):
                    sums[p] = sums[p] + w0 * x0[p] + w1 * x1[p] + w2 * x2[p] + w3 * x3[p]
                i += 4
            while i < count:
                x0, w0 = x[columns[at + i], begin:begin + n], w[i]
                for p in range(n):
                    sums[p] += w0 * x0[p]
                i += 1
            for p in range(n):
                y[row, at_pixel + begin + p] = sums[p] * scale[row] + bias[row]


@njit(cache=True, parallel=True, fastmath=SUMS)
def dense_rows(starts, counts, columns, plain, codes, table, tables, scale, scales, zeros, bits, block_inputs, first, last,
               x, bias, y):
    """y[:, first:last] = scale · x Wᵀ + bias for a dense W and few rows of x. x [R, K], y [R, rows of W]."""
    depth = x.shape[1]
    for block in prange((last - first + ROWS - 1) // ROWS):
        rows = min(ROWS, last - first - block * ROWS)
        w = np.zeros((ROWS, depth + 8), np.float32)
        for r in range(rows):
            row = first + block * ROWS + r
            expand(row, starts, counts, columns, plain, codes, bits, table[tables[row]], scales, zeros, block_inputs, w[r])
        w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
        for i in range(x.shape[0]):
            xi = x[i]
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for k in range(depth):
                v = xi[k]
                s0 += w0[k] * v
                s1 += w1[k] * v
                s2 += w2[k] * v
                s3 += w3[k] * v
            sums = (s0, s1, s2, s3)
            for r in range(rows):
                row = first + block * ROWS + r
                y[i, row] = sums[r] * scale[row] + bias[row]


@njit(cache=True, parallel=True, fastmath=SUMS)
def sparse_rows(starts, counts, columns, plain, codes, table, tables, scale, scales, zeros, bits, block_inputs, first, last,
                x, bias, y):
    """The same for a W whose rows hold some columns only."""
    for row in prange(first, last):
        count, at = counts[row], starts[row]
        w = np.empty(count + 8, np.float32)
        expand(row, starts, counts, columns, plain, codes, bits, table[tables[row]], scales, zeros, block_inputs, w)
        for i in range(x.shape[0]):
            xi = x[i]
            total = np.float32(0)
            for j in range(count):
                total += w[j] * xi[columns[at + j]]
            y[i, row] = total * scale[row] + bias[row]
