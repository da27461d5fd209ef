"""Sliding windows over volumes [channels, depth, height, width], compiled by Numba: patches; and over images: depthwise sums, pooling.

``geometry``: int64[5, 3]: lengths of the output, of the kernel, strides, padding at the beginning, dilations, along each axis. Images have a
depth of 1 everywhere, lines a height of 1 too.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

BAND = 2048
"""Sums of a depthwise convolution that are made together: with what they read, they stay in the first-level cache."""


@njit(cache=True, parallel=True)
def patches(x, geometry, first, last, out):
    """What each tap reads for the rows first … last of the output (its depth × height, one after another) → out[channels · taps, pixels];
    zero outside of the volume."""
    (_, height_out, width_out), (kz, ky, kx), strides, begin, dilations = geometry
    channels, depth, height, width = x.shape
    for c in prange(channels):
        for tap in range(kz * ky * kx):
            line = out[c * kz * ky * kx + tap]
            at = 0
            for place in range(first, last):
                iz = place // height_out * strides[0] - begin[0] + tap // (ky * kx) * dilations[0]
                iy = place % height_out * strides[1] - begin[1] + tap // kx % ky * dilations[1]
                inside = 0 <= iz < depth and 0 <= iy < height
                for ox in range(width_out):
                    ix = ox * strides[2] - begin[2] + tap % kx * dilations[2]
                    line[at + ox] = x[c, iz, iy, ix] if inside and 0 <= ix < width else np.float32(0)
                at += width_out


@njit(cache=True, parallel=True, fastmath={"contract"})
def depthwise(x, geometry, w, bias, y):
    """y[m] = the window sums of x[m // multiplier] with w[m] (expanded, [M, taps]) + bias[m]. Padding is zero.

    A channel's image is copied once, padded and with its rows and columns dealt out by their remainders modulo the strides: what one tap reads
    for all outputs then lies one after another, and so do the sums, of which those right of the image are dropped.
    """
    (_, oh, ow), (_, kh, kw), (_, sy, sx), (_, py, px), (_, dy, dx) = geometry
    channels, height, width = x.shape
    outputs = y.shape[0]
    reach_y, reach_x = (oh - 1) * sy + (kh - 1) * dy + 1, (ow - 1) * sx + (kw - 1) * dx + 1
    each, rows = (reach_x + sx - 1) // sx, (reach_y + sy - 1) // sy
    band = max(BAND // each, 1)
    for m in prange(outputs):
        source = x[m // (outputs // channels)]
        padded = np.zeros((sy, sx, rows * each), np.float32)
        for iy in range(max(py, 0), min(height + py, reach_y)):
            line = source[iy - py]
            for phase in range(sx):
                row, begin = padded[iy % sy, phase, iy // sy * each:], max((px - phase + sx - 1) // sx, 0)
                for j in range(begin, max(min((width + px - phase + sx - 1) // sx, each), begin)):
                    row[j] = line[j * sx + phase - px]
        sums = np.empty(band * each, np.float32)
        for first in range(0, oh, band):
            last = min(first + band, oh)
            n = (last - first - 1) * each + ow
            sums[:n] = bias[m]
            for ky in range(kh):
                at = (first + ky * dy // sy) * each
                phases = padded[ky * dy % sy]
                kx = 0
                while kx + 3 <= kw:
                    r0 = phases[kx * dx % sx, at + kx * dx // sx:]
                    r1 = phases[(kx + 1) * dx % sx, at + (kx + 1) * dx // sx:]
                    r2 = phases[(kx + 2) * dx % sx, at + (kx + 2) * dx // sx:]
                    w0, w1, w2 = w[m, ky * kw + kx], w[m, ky * kw + kx + 1], w[m, ky * kw + kx + 2]
                    for i in range(n):
                        sums[i] = sums[i] + w0 * r0[i] + w1 * r1[i] + w2 * r2[i]
                    kx += 3
                while kx < kw:
                    r0, w0 = phases[kx * dx % sx, at + kx * dx // sx:], w[m, ky * kw + kx]
                    for i in range(n):
                        sums[i] += w0 * r0[i]
                    kx += 1
            for oy in range(first, last):
                y[m, oy] = sums[(oy - first) * each:(oy - first) * each + ow]


@njit(cache=True, parallel=True)
def max_pool(x, geometry, y):
    """The largest element inside of each window, or NaN if there is one; -inf where no element is."""
    (_, oh, ow), (_, kh, kw), (_, sy, sx), (_, py, px), (_, dy, dx) = geometry
    channels, height, width = x.shape
    for c in prange(channels):
        for oy in range(oh):
            for ox in range(ow):
                best = np.float32(-np.inf)
                for ky in range(kh):
                    iy = oy * sy - py + ky * dy
                    if 0 <= iy < height:
                        for kx in range(kw):
                            ix = ox * sx - px + kx * dx
                            if 0 <= ix < width:
                                v = x[c, iy, ix]
                                if v > best or v != v:
                                    best = v
                y[c, oy, ox] = best


@njit(cache=True, parallel=True)
def mean_pool(x, geometry, padding, y):
    """The mean of each window over its elements inside of the image widened by ``padding`` (top, left, bottom, right)."""
    (_, oh, ow), (_, kh, kw), (_, sy, sx), (_, py, px), (_, dy, dx) = geometry
    channels, height, width = x.shape
    for c in prange(channels):
        for oy in range(oh):
            for ox in range(ow):
                total, count = np.float32(0), 0
                for ky in range(kh):
                    iy = oy * sy - py + ky * dy
                    if -padding[0] <= iy < height + padding[2]:
                        for kx in range(kw):
                            ix = ox * sx - px + kx * dx
                            if -padding[1] <= ix < width + padding[3]:
                                count += 1
                                if 0 <= iy < height and 0 <= ix < width:
                                    total += x[c, iy, ix]
                y[c, oy, ox] = total / np.float32(count)
