"""Parts that are forked: what they share, and that they are what their commands would have made."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.running import ROOT, Running, running
from tests.waiting import wait_until, within

# Forks a part, has it run with an environment, and ends as it ends. The part's module is `told`.
SCRIPT = """
import asyncio, os, signal, sys
from service.cli.forked_parts import Part, fork_parts

step = sys.argv[1]
if step == "interrupt":
    os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
command = (sys.executable, "-m", "told", "an argument", "")
parts = [
    Part(name="one", command=command, preload="told"),
    Part(name="two", command=command, preload="told"),
    Part(name="other", command=("true",)),
]
try:
    forked = fork_parts(parts)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(0)
assert ["one", "two"] == list(forked)

async def main():
    one, two = forked.values()
    if step == "die":
        one.kill()
        while open(f"/proc/{one.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            await asyncio.sleep(0.01)
    if step != "leave":
        odd = os.environ.pop("ODD_VALUE")
        one.start({**os.environ, "ODD": odd})
        if step == "terminate":
            await asyncio.sleep(0.05)
            one.terminate()
        status = await one.wait()
        assert status == await one.wait()
        one.kill()  # of an ended part, without effect
        two.discard()
        print("status", status, "discarded", two.returncode)

asyncio.run(main())
"""
MODULE = """
import os, signal, sys, time

value = os.environb.get(b"ODD", b"")
if __name__ == "__main__":
    is_clean, is_leader = b"ODD_VALUE" not in os.environb, os.getsid(0) == os.getpid()
    print(sys.argv, len(value), value[-3:], is_clean, is_leader)
    print(open("/proc/self/cmdline").read().split("\\0")[1:])
    sys.stdout.flush()
    if value == b"sleep":
        signal.pause()
    sys.exit(3)
"""


async def forked(step: str, odd: bytes, folder: Path) -> list[str]:
    """What the script and its part print."""
    (folder / "told.py").write_text(MODULE)
    environ: Mapping[bytes, bytes] = {
        **os.environb, b"ODD_VALUE": odd, b"PYTHONPATH": os.fsencode(f"{ROOT}:{folder}")
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, step, env=environ, stdout=asyncio.subprocess.PIPE
    )
    async with within(10):
        out, _ = await process.communicate()
    assert 0 == process.returncode
    return out.decode().splitlines()


async def test_a_part_has_its_command_environment_and_session(tmp_path: Path) -> None:
    """Also where a value is no text, and larger than a pipe holds."""
    odd = b"x" * 100_000 + b"\n=\xff"
    assert [
        f"{['told', 'an argument', '']} ".replace("'told'", repr(str(tmp_path / "told.py")))
        + f"{len(odd)} {odd[-3:]!r} True True",
        "['-m', 'told', 'an argument', '', '']",
        "status 3 discarded -9",
    ] == await forked("run", odd, tmp_path)


async def test_a_part_that_died_before_its_start_has_ended(tmp_path: Path) -> None:
    """It was killed while it waited: the supervisor learns it as of any other."""
    assert ["status -9 discarded -9"] == await forked("die", b"", tmp_path)


async def test_a_part_is_ended_by_a_signal(tmp_path: Path) -> None:
    """Its status names the signal."""
    *_, status = await forked("terminate", b"sleep", tmp_path)
    assert "status -15 discarded -9" == status


async def test_parts_that_are_never_started_end_with_their_parent(tmp_path: Path) -> None:
    """The script's output ends only when none of them has it open any more."""
    assert [] == await forked("leave", b"", tmp_path)


async def test_ctrl_c_during_a_fork_is_not_lost(tmp_path: Path) -> None:
    """It comes while Python runs what libraries have registered for forks."""
    assert ["interrupted"] == await forked("interrupt", b"", tmp_path)


def shared_mb(pid: int) -> float:
    """Memory that a process shares with its parent because it was forked from it."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"Shared_Dirty: +(\d+) kB", rollup)) / 1024


def started(dateline: Running) -> dict[str, int]:
    """The parts that are Python processes."""
    return {name: pid for name, pid in dateline.parts().items() if name != "redis"}


async def test_the_parts_share_their_imports_until_they_are_started_again() -> None:
    """Killed, each is a new process under the same command; what it shared is its own then."""
    async with running() as dateline:
        first = started(dateline)
        assert {"serve", "aggregate", "deliver", "ingest"} == first.keys()
        for pid in first.values():
            assert shared_mb(pid) > 10
            os.kill(pid, signal.SIGKILL)

        async def are_back() -> bool:
            now = started(dateline)
            return now.keys() == first.keys() and not set(now.values()) & set(first.values())

        await wait_until(are_back, timeout_s=20)
        assert 4 == dateline.text().count('reason="ended with status -9"')
