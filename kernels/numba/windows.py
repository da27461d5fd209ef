"""Sliding windows over volumes [channels, depth, height, width], compiled by Numba: patches; and over images: depthwise sums, pooling.

``geometry``: int64[5, 3]: lengths of the output, of the kernel, strides, padding at the beginning, dilations, along each axis. Images have a
depth of 1 everywhere, lines a height of 1 too.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange


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

    A channel's image is copied once, padded and with its columns dealt out by their remainder modulo the stride, so that what one tap
    reads for a row of outputs lies side by side.
    """
    (_, oh, ow), (_, kh, kw), (_, sy, sx), (_, py, px), (_, dy, dx) = geometry
    channels, height, width = x.shape
    outputs = y.shape[0]
    reach_y, reach_x = (oh - 1) * sy + (kh - 1) * dy + 1, (ow - 1) * sx + (kw - 1) * dx + 1
    each = (reach_x + sx - 1) // sx
    for m in prange(outputs):
        source = x[m // (outputs // channels)]
        padded = np.zeros((reach_y, sx, each), np.float32)
        for iy in range(max(py, 0), min(height + py, reach_y)):
            line = source[iy - py]
            for phase in range(sx):
                row, begin = padded[iy, phase], max((px - phase + sx - 1) // sx, 0)
                for j in range(begin, max(min((width + px - phase + sx - 1) // sx, each), begin)):
                    row[j] = line[j * sx + phase - px]
        for oy in range(oh):
            sums = y[m, oy]
            sums[:] = bias[m]
            for ky in range(kh):
                rows = padded[oy * sy + ky * dy]
                kx = 0
                while kx + 3 <= kw:
                    r0 = rows[kx * dx % sx, kx * dx // sx:]
                    r1 = rows[(kx + 1) * dx % sx, (kx + 1) * dx // sx:]
                    r2 = rows[(kx + 2) * dx % sx, (kx + 2) * dx // sx:]
                    w0, w1, w2 = w[m, ky * kw + kx], w[m, ky * kw + kx + 1], w[m, ky * kw + kx + 2]
                    for ox in range(ow):
                        sums[ox] = sums[ox] + w0 * r0[ox] + w1 * r1[ox] + w2 * r2[ox]
                    kx += 3
                while kx < kw:
                    r0, w0 = rows[kx * dx % sx, kx * dx // sx:], w[m, ky * kw + kx]
                    for ox in range(ow):
                        sums[ox] += w0 * r0[ox]
                    kx += 1


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
