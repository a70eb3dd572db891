"""What came of each command is a record of the journal behind it, which a replay makes again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine_world import World, practice_config, replayed

from cstd._fast.codes import EventKind
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records


def answers(world: World) -> list[dict[str, Any]]:
    """The records of what came of commands."""
    return [json.loads(payload) for kind, _, payload in world.recorder.captured if kind == EventKind.OUT_ANSWER]


def test_taken_refused_and_asked_are_told_apart() -> None:
    """Of every command: with the words that its sender was told, and never the word that confirms."""
    world = World(practice_config()).ready()
    world.command("kill", reason="drill")
    world.command("resume")
    world.command("approve", id="41")
    word = world.command("kill_clear")["confirm"]
    world.command("kill_clear", confirm="another")
    world.command("kill_clear", confirm=word)
    world.command("resume")
    found = answers(world)
    assert [(row["verb"], row["result"]) for row in found] == [
        ("kill", "taken"), ("resume", "refused"), ("approve", "refused"), ("kill_clear", "asked"), ("kill_clear", "refused"),
        ("kill_clear", "taken"), ("resume", "taken")]
    assert found[1]["refusal"] == "the kill switch is latched: drill"
    assert found[2]["refusal"] == "no opening '41' waits for an operator"
    assert [row["refusal"] for row in found if row["result"] != "refused"] == [None] * 4
    assert word not in json.dumps(found)


def test_a_replay_writes_the_same_of_every_command(tmp_path: Path) -> None:
    """The records are outputs like any other: made again and compared, one for each command."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 22, segment_bytes=1 << 22,
                      sync_interval_ms=1) as journal:
        world = World(practice_config(), journal=journal).ready()
        for verb in ("pause", "resume", "kill", "resume"):
            world.command(verb)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert (again.difference_count, again.missing) == (0, []), again.differences
    assert sum(record.kind == EventKind.OUT_ANSWER for record in records(tmp_path / "journal")) == 4
