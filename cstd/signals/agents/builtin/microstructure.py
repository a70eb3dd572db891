"""Microstructure: does the book lean, and has the flow pushed the same way? One vote per book update.

The score is a weighted sum of three numbers in -1..1: imbalance over five levels (what rests), order-flow imbalance
over 1 s and 10 s (what changed), and the lean of the weighted mid (where the touch would give way). It is smoothed over
about eight updates, because a single level that comes and goes would otherwise flip the vote. Small scores are neutral.
A spread wider than 20 bps says that the touch is nobody's opinion: abstain.
"""

from cstd.signals.agents.api import ABSTAIN, VOTE, Agent, Feature
from cstd.signals.agents.kernels import clamp, has

SPREAD_BPS_MAX = 20.0
SMOOTHING = 0.125
THRESHOLD = 0.25
WARM_UPDATES = 8.0

# Places in the agent's state row.
SCORE = 0
UPDATES = 1


def kernel(features, valid, state, vote):  # type: ignore[no-untyped-def]
    """Vote on one book update."""
    if not (has(valid, Feature.SPREAD_BPS) and has(valid, Feature.IMBALANCE_5)
            and has(valid, Feature.WEIGHTED_MID_BPS) and has(valid, Feature.OFI_1S)):
        state[SCORE] = 0.0
        state[UPDATES] = 0.0
        return ABSTAIN
    spread_bps = features[Feature.SPREAD_BPS]
    if not 0.0 < spread_bps <= SPREAD_BPS_MAX:
        return ABSTAIN
    flow = clamp(features[Feature.OFI_1S], -1.0, 1.0)
    if has(valid, Feature.OFI_10S):
        flow = 0.5 * flow + 0.5 * clamp(features[Feature.OFI_10S], -1.0, 1.0)
    lean = clamp(2.0 * features[Feature.WEIGHTED_MID_BPS] / spread_bps, -1.0, 1.0)
    score = 0.4 * clamp(features[Feature.IMBALANCE_5], -1.0, 1.0) + 0.4 * flow + 0.2 * lean
    state[SCORE] += SMOOTHING * (score - state[SCORE])
    state[UPDATES] += 1.0
    if state[UPDATES] < WARM_UPDATES:
        return ABSTAIN
    strength = abs(state[SCORE])
    if strength < THRESHOLD:
        vote[0] = 0.0
        vote[1] = 1.0 - strength / THRESHOLD
    else:
        vote[0] = 1.0 if state[SCORE] > 0.0 else -1.0
        vote[1] = clamp(strength, 0.0, 1.0)
    return VOTE


AGENT = Agent("microstructure", kernel, per="book")
