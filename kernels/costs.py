"""Measured costs, from which lowerings estimate nanoseconds on one thread: units of work × a constant.

One dict per family, one constant per kernel (the unit is said beside it). Rough on purpose: they only have to rank the ways
of running a node. Measured with AVX-512 at about 2.6 GHz; each family's README has the commands.
"""

STEP = 150.0
"""Starting a step: the engine's call, decoding parameters, a barrier."""

MEETING = 500.0
"""Until several threads that shared a step have met: beyond what the step costs a single thread."""

MOVEMENT = {
    "copy_tiles": 0.28,  # per float
    "copy_rows": 0.12,  # per float
    "copy_bytes": 3.0,  # per byte, in another order
    "row": 4.0,  # per row
}

ELEMENTWISE = {
    "clamp": 0.18,  # per float, as all below but the last
    "sigmoid": 0.4,
    "tanh": 0.5,
    "hard_sigmoid": 0.18,
    "hard_swish": 0.18,
    **dict.fromkeys(("abs", "ceil", "floor", "leaky_relu", "neg", "power", "round", "softsign", "sqrt", "threshold"), 0.18),
    **dict.fromkeys(("elu", "exp", "log"), 0.35),
    **dict.fromkeys(("gelu_tanh", "mish", "swish"), 0.5),
    **dict.fromkeys(("erf", "gelu", "softplus"), 0.9),
    "binary": 0.25,
    "strided": 2.0,
    "scale_shift": 0.18,
    "row": 3.0,  # per row of a broadcast operation
}

POOL = {
    "nhwc": 0.07,  # per tap of an output, as the next one
    "nchw": 0.16,
    "row": 25.0,  # per row of the output
    "rows": 0.03,  # per float that a reduction reads, as the next one
    "lanes": 0.03,
    "reduced": 6.0,  # per row of a reduction by rows
}

RESAMPLE = {
    "down": 0.06,  # per float of a row of the input and tap along columns
    "across": 0.65,  # per output and tap along rows
    "channels": 0.08,  # per channel, rounded up to 16, and pair of taps
    "pixel": 10.0,  # per output of all channels
}

FOLD = {"float": 0.15}  # per float that a tap adds

RECURRENT = {
    "cell": 0.6,  # per gate of a hidden unit
    "ahead": 0.6,  # share of the time of products with W, where they are done beside the product with R
}

LOGIC = {
    "element": 0.5,  # per element
    "row": 4.0,  # per row of a broadcast operation
}

SLOWER = {"avx2": 2.0, "baseline": 8.0}
"""How much longer the products below take at that ISA level than with AVX-512."""

GEMM: dict[str, float] = {
    "gemm": 0.0095,  # per weight and row
    "gather": 0.1,  # per activation copied
    "read_fp32": 0.12,  # per weight and block of rows
    "read_fp16": 0.06,
    "read_codebook": 0.05,
    "read_rows": 0.05,
    "read_tiles": 0.13,
    "read_planes": 0.02,  # per weight of conv_planes and block of rows
    "few": 0.0095,  # per weight and row
    "look_up": 0.015,  # per weight and eight rows
    "gemv_f32": 0.14,  # per weight, as all below
    "gemv_f16": 0.068,
    "gemv_affine": 0.03,
    "gemv_affine in windows": 0.1,  # per kept weight
    "gemv_runs1": 0.0065,
    "gemv_runs2": 0.0125,
    **{f"gemv_codebook{bits}": 0.024 for bits in (1, 2, 3, 4, 5)},
    "gemv_codebook6": 0.048,  # of whole floats 0.051, of 8 significant bits 0.043
    "gemv_codebook7": 0.046,  # 0.051, 0.04
    "gemv_codebook8": 0.055,  # 0.068, 0.051, mirrored 0.041
}

GEMV_AVX2 = {  # per weight, at that level
    "gemv_f32": 0.14,
    "gemv_f16": 0.068,
    "gemv_affine": 0.046,
    "gemv_affine in windows": 0.3,
    "gemv_runs1": 0.018,
    "gemv_runs2": 0.035,
    "gemv_codebook1": 0.04,
    "gemv_codebook2": 0.04,
    "gemv_codebook3": 0.04,
    "gemv_codebook4": 0.066,
    "gemv_codebook5": 0.1,
    "gemv_codebook6": 0.17,
    "gemv_codebook7": 0.17,
    "gemv_codebook8": 0.17,
}

WINOGRAD = {
    "product": 0.0095,  # per transformed weight and tile
    "weight": 0.06,  # per transformed weight, from memory
    "transform": 0.065,  # per transformed weight, from decoded ones, and block of tiles
    "input": 0.16,  # per transformed input
    "sum": 0.16,  # per sum that is transformed back
}

DEPTHWISE: dict[str, float] = {
    "tap": 0.02,  # per output and tap
    "rolled": 0.0085,  # the same where three rows of the kernel roll down the image
    "rolled on NEON": 0.0125,  # the same there, of columns in lanes (modelled: 1.46 times the cycles of channels in lanes)
    "float": 0.06,  # per activation read or written
}

BITS = {  # per weight, by ISA level
    "bits_gemv": {"avx512vnni": 0.0068, "avx512": 0.017, "avx2": 0.017, "dotprod": 0.0068, "neon": 0.0125, "baseline": 0.6},
    "bits_gemv8": {"avx512vnni": 0.016, "avx512": 0.03, "avx2": 0.03, "dotprod": 0.016, "neon": 0.016, "baseline": 0.6},
    "xnor_gemv": {"avx512vnni": 0.0015, "avx512": 0.003, "avx2": 0.003, "baseline": 0.03},
}

BITS_CACHED = 0.65
"""Share of bits_gemv8 that a weight takes which a cache holds."""

SPARSE = {
    "gemv_f32": 0.21,  # per kept weight and row, as all of gemv
    "gemv_f16": 0.17,
    "gemv_binary": 0.16,
    "gemv_packed": 0.16,
    "gemv_codebook": 0.175,
    "gemv_codebook8": 0.26,
    "gemv_gathered": 0.3,
    "window_f32": 0.06,  # per kept weight and row, times the padding
    "window_f16": 0.045,
    "window_codebook": 0.05,
    "window_tables": 0.2,
    "window_elastic_neon": 1.2,  # per kept weight and row: no look-up there finds floats
    "spmm": 0.0145,  # per kept weight and position
    "taps": 0.021,  # the same where kernels have several taps, whose loads lie across cache lines
    "row": 5.0,  # per row, block of positions and chunk of columns
    "columns": 0.07,  # per float brought into scratch
    "strided": 0.45,  # the same in NCHW where strides are not 1, 2 or 4
    "piece": 2.0,  # per row of them
    "scatter": 0.2,  # per float of an output whose positions are not side by side
}

SOFTMAX = {
    "rows": 0.5,  # per float, as the next one
    "lanes": 0.6,
    "start": 15.0,  # per row, where a row lies in one piece
}

NORM = {
    "float": 0.2,  # per float
    "row": 20.0,  # per row of statistics
}

INTEGER = {
    "product": 0.0045,  # per int8 weight and row
    "read": 0.009,  # per int8 weight, from memory
    "decode": 0.03,  # per weight of few bits made int8
    "gather": 0.05,  # per code copied
    "tap": 0.004,  # per output and tap of a depthwise convolution
    "output": 0.06,  # per output of one
    "quantize": 0.3,  # per float
    "planes": 0.1,  # more per float where codes lie in another layout
}
