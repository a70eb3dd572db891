"""Control and sight: what an operator can see of a running daemon, and what an operator can tell it.

Purpose: show the trading process without ever slowing it, and carry commands to it as journaled events.
Takes: a `view.EngineView` inside the trading process; JSON lines on the admin socket; HTTP on the status port.
Gives: the board (shared memory, written by `board.BoardWriter`), the reader process (`python -m cstd.ops.reader`:
    page, `/health`, `/ready`, `/metrics`, `/api/v1`, `/ws`), the admin socket (`admin.AdminServer`), its client
    (`client.main`), JSON logs (`logs`) and the service manager's notices (`notify`).
Owns: the board file and the admin socket in the run directory; no trading state at all. The trading process alone
    writes the board; the reader process alone listens for HTTP.
Invariants: the reader can die, stall or be killed and the trading process does not notice; every region of the board
    is bounded and versioned, so a torn read is seen and repeated; the status port reads, and hands on an operator's
    answer by his token alone; a mutating verb never touches the engine, it is handed to the daemon, which journals it
    with the uid and pid of the sender.
Fails by: showing that the board is stale (the writer is gone); refusing an address that is not loopback; answering
    a bad request with an error object; dropping a client that does not read. Never by an exception in the engine.
Try it: `python -m tests.ops.fake_view` serves the page on a free port with a test double behind it.

Why this way: prometheus_client, aiohttp and the page cost memory, imports and milliseconds of Python. A second Python
thread in the trading process was measured to delay its loop by up to 210 ms, so all of this is another process, and
what crosses the border is a file of memory with a sequence counter per region.
"""
