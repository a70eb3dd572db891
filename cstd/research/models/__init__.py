"""Models of trades: what `cstd train` makes of bars, and what `cstd evaluate` finds of it.

Purpose: probabilities that a trade earns after fees, honest about what they are worth: most are worth nothing, and say so.
Takes: bar files that the operator names; nothing of the practice exchange.
Gives: versions `models/<name>/<version>/` (card.json, ONNX files), a report, figures beside baselines.
Owns: what it writes below `--out`: versions, reports, `.training/` while a run is under way.
Invariants: never imported by the trading process; a row knows of closed bars before its decision alone; nothing is filled in;
    what judges a model chose nothing of it; the same bars, seed and versions of the libraries give the same bytes.
Fails by: OperatorError (bars, too few trades, a library that is not installed), VerificationError (an export that differs).
Try it: `cstd train --bars XBTUSD_60m.csv.gz --horizon 24h --name mine --out models`

Read it in this order: dataset, labels, folds, members, ensemble, training; then skill, evaluation, stored, report.

Why this way: libraries that fit are imported when they are used (`extras`), because the package that trades must not need
them; what is computed from a card (`ensemble`) is numpy alone, so that whoever scores can be held to it.
"""
