#!/usr/bin/env python3
"""The polynomials of error_function() and rough_gelu() in src/nn/encoder_vector.h.

erf(x) / x = P(x^2) / Q(x^2) for |x| <= 3.92: least squares at Chebyshev points,
weighted anew where the error is large, Q's first coefficient being one.
"""

import math

import numpy as np

TOP, POINTS, DEGREE = 3.92, 4000, 5

x = TOP * np.cos(np.pi * (np.arange(POINTS) + 0.5) / (2 * POINTS))
u = x * x
wanted = np.array([math.erf(v) / v for v in x])
weight = np.ones(POINTS)
below = np.ones(POINTS)
for _ in range(60):
    columns = [u**i * x / below * weight for i in range(DEGREE + 1)]
    columns += [-wanted * u**i * x / below * weight for i in range(1, DEGREE + 1)]
    scale = [np.linalg.norm(c) for c in columns]
    matrix = np.stack([c / s for c, s in zip(columns, scale)], 1)
    solution = np.linalg.lstsq(matrix, wanted * x / below * weight, rcond=None)[0] / scale
    p, q = solution[: DEGREE + 1], np.concatenate([[1], solution[DEGREE + 1 :]])
    below = sum(c * u**i for i, c in enumerate(q))
    above = sum(c * u**i for i, c in enumerate(p))
    error = np.abs(above / below - wanted) * x
    weight *= np.sqrt(0.2 + error / error.max())
    weight /= weight.max()
print("off by", error.max())
print("P", [float(np.float32(c)) for c in p])
print("Q", [float(np.float32(c)) for c in q])

# x R(x^2) is the normal distribution less one half, for |x| <= 4
ROUGH_TOP, ROUGH_DEGREE = 4.0, 7
x = ROUGH_TOP * np.cos(np.linspace(0, np.pi / 2, 4001)[:-1])
wanted = np.array([math.erf(v / math.sqrt(2)) / 2 for v in x])
matrix = np.stack([x * (x / ROUGH_TOP) ** (2 * k) for k in range(ROUGH_DEGREE + 1)], 1)
weight = np.ones(len(x))
for _ in range(400):
    root = np.sqrt(weight)
    r = np.linalg.lstsq(matrix * root[:, None], wanted * root, rcond=None)[0]
    error = np.abs(matrix @ r - wanted)
    weight *= error
    weight /= weight.sum()
print("off by", error.max())
print("R", [float(np.float32(c / ROUGH_TOP ** (2 * k))) for k, c in enumerate(r)])
