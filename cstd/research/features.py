"""`cstd features`: every bar indicator over a file of bars, by the code that runs live.

CSV on stdout: `time` as in the file and one column per indicator, empty where it is not ready; or one JSON object a bar,
null where it is not ready. The file's own bars are used as they are: a missing bar is a gap, and windows count bars, not
minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from cstd._fast import indicators
from cstd.errors import OperatorError, UsageError
from cstd.research import bar_file

NS_PER_S = 1_000_000_000


def rows(bars: bar_file.Bars, output: str = "csv") -> Iterator[str]:
    """Yield the lines of the indicators of some bars; numbers in their shortest exact form.

    Args:
        bars: the bars.
        output: "csv" with a header line first, or "json", one object a line.

    Raises:
        OperatorError: a bar cannot exist.
    """
    try:
        values, ready = indicators.batch(bars.open, bars.high, bars.low, bars.close, bars.volume,
                                         interval_ns=bars.interval_s() * NS_PER_S)
    except ValueError as error:
        raise OperatorError(str(error)) from None
    columns = [(values[name].tolist(), ready[name].tolist()) for name in indicators.NAMES]
    if output == "json":
        for i, time_s in enumerate(bars.time_s):
            ready_values = (value[i] if is_ready[i] else None for value, is_ready in columns)
            yield json.dumps({"time": time_s, **dict(zip(indicators.NAMES, ready_values, strict=True))}, allow_nan=False)
        return
    yield ",".join(("time", *indicators.NAMES))
    for i, time_s in enumerate(bars.time_s):
        yield ",".join([str(time_s), *(repr(value[i]) if is_ready[i] else "" for value, is_ready in columns)])


def main(args: argparse.Namespace) -> int:
    """Run the verb: print the indicators of args.bars. Nothing is printed when the file is refused.

    Raises:
        OperatorError: the file cannot be read or holds a bar that cannot exist.
        UsageError: another output than csv or json is asked for.
    """
    output = getattr(args, "output", None) or "csv"
    if output not in ("csv", "json"):
        raise UsageError(f"features prints csv or json, not {output}")
    for line in rows(bar_file.read(args.bars), output):
        sys.stdout.write(line + "\n")
    return 0
