"""EvalPlus's rules for values (evalplus 0.3.1): what its inputs mean, and which results are right.

Inputs of MBPP+ are stored as JSON, which has no tuples, sets and complex numbers; which task has which stands in
``_INPUTS``. A result is right when it equals the expected one, or lies close to it where numbers are compared with a
tolerance; of some tasks, named by their function, something else is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

Arguments = list[Any] | tuple[Any, ...]

RELATIVE = 1e-07
FLOAT_TOLERANCE = 1e-6
"""Absolute tolerance from the first expected float on, where a task states none."""

# ---------------------------------------------------------------- inputs of MBPP+


def _deep(value: Any) -> Any:
    """Lists as tuples, at every level."""
    return tuple(map(_deep, value)) if isinstance(value, list) else value


def _tuples(lists: Sequence[Any]) -> list[Any]:
    return list(map(tuple, lists))


def _first_a_tuple(given: Arguments) -> Arguments:
    return [tuple(given[0]), *given[1:]]


_INPUTS: dict[Callable[[Arguments], Arguments], tuple[int, ...]] = {
    _tuples: (
        2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809,
    ),
    lambda given: list(map(_tuples, given)): (
        63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780,
    ),
    lambda given: [_tuples(given[0]), given[1]]: (75, 413, 444, 753),
    lambda given: [given[0], tuple(given[1])]: (106, 750),
    lambda given: [[set(one) if isinstance(one, list) and one else {} for one in given[0]]]: (115,),
    lambda given: (float(given[0]), complex(given[1])): (124,),
    lambda given: [complex(given[0])]: (252,),
    _first_a_tuple: (250, 307, 405, 446, 617, 720, 763, 808),
    lambda given: [tuple(_tuples(one)) for one in given]: (259, 401, 445),
    lambda given: [tuple(tuple(one) if isinstance(one, list) else one for one in given[0])]: (278,),
    lambda given: [{key: tuple(one) for key, one in given[0].items()}, *given[1:]]: (722,),
    _deep: (580, 615, 791),
}  # fmt: skip
"""What an input's arguments become, and of which tasks, by their number."""
_INPUT_OF = {number: become for become, numbers in _INPUTS.items() for number in numbers}


def mbpp_input(number: int, stored: list[Any]) -> Arguments:
    """The arguments that an input of task ``number`` of MBPP+ means.

    Raises ValueError, TypeError, LookupError or AttributeError for an input that has not the form of its task.
    """
    become = _INPUT_OF.get(number)
    return stored if become is None else become(stored)


# ---------------------------------------------------------------- results


def is_right(function: str, given: Sequence[Any], wanted: Any, result: Any, tolerance: float, mbpp: bool) -> bool:
    """Whether a result is right; never raises for what it is.

    Args:
        function: the task's entry point, by which those are known of which something else is asked for.
        given: the arguments.
        tolerance: absolute; 0 asks for equality.
        mbpp: a task of MBPP+, not of HumanEval+.
    """
    with suppress(Exception):
        if not mbpp and function == "find_zero":
            return bool(abs(_polynomial(given[0], result)) <= tolerance)
        equal = result == wanted
        if mbpp and function in _ASKED:
            equal = _ASKED[function](equal, given, wanted, result, tolerance)
        if equal or tolerance == 0:
            return bool(equal)
        return _is_close(wanted, result, tolerance)
    return False


def tolerance_from(tolerance: float, wanted: Any) -> float:
    """The tolerance of this result and of those after it, in EvalPlus's order: expected floats bring one."""
    return FLOAT_TOLERANCE if tolerance == 0 and _are_floats(wanted) else tolerance


def wanted_of(function: str, value: Any, mbpp: bool) -> Any:
    """What is expected of a result, from what the reference solution returned."""
    return value is not None if mbpp and function in _NOT_NONE else value


def _are_floats(value: Any) -> bool:
    import numpy as np

    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(one, float) for one in value)
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype in (np.float64, np.float32))


def _is_close(wanted: Any, result: Any, tolerance: float) -> bool:
    import numpy as np

    if type(result) is not type(wanted):
        return False
    if isinstance(wanted, (list, tuple)) and len(result) != len(wanted):
        return False
    with np.errstate(all="ignore"):
        return bool(np.allclose(result, wanted, rtol=RELATIVE, atol=tolerance))


def _polynomial(coefficients: Sequence[float], x: float) -> float:
    return sum(coefficient * math.pow(x, power) for power, coefficient in enumerate(coefficients))


def _surface_of_pyramid(edge: float, height: float) -> int:
    """Of a square pyramid whose ``height`` is that of its apex, rounded."""
    return round(edge**2 + 2 * edge * math.sqrt((edge / 2) ** 2 + height**2))


def _digit_distance(first: int, second: int) -> int:
    """Sum of the differences of digits that stand at one place, the shorter number filled with zeros."""
    width = max(len(str(first)), len(str(second)))
    digits = zip(str(first).zfill(width), str(second).zfill(width), strict=True)
    return sum(abs(int(one) - int(other)) for one, other in digits)


_Asked = Callable[[Any, Sequence[Any], Any, Any, float], Any]
_NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")
"""Functions whose results are only asked to be something or None."""
_SAME_SET = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip
"""Functions whose results are compared as sets."""


def _something(_equal: Any, _given: Sequence[Any], wanted: Any, result: Any, _tolerance: float) -> Any:
    return result == wanted if isinstance(result, bool) else wanted == (result is not None)


_ASKED: Mapping[str, _Asked] = {
    "are_equivalent": lambda *_: True,
    "sum_div": lambda equal, _given, _wanted, result, _: equal or result == 0,
    "surface_Area": lambda equal, given, _, result, most: equal or abs(result - _surface_of_pyramid(*given)) <= most,
    "digit_distance_nums": lambda equal, given, _wanted, result, _: equal or result == _digit_distance(*given),
    **dict.fromkeys(_SAME_SET, lambda _equal, _given, wanted, result, _: set(result) == set(wanted)),
    **dict.fromkeys(_NOT_NONE, _something),
}
"""What is right, by function: of equality with the expected result, arguments, that result, this one, tolerance."""
