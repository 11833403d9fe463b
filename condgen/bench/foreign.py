"""Loops that are not ours, such as `Trainer.fit`, timed block by block from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Semaphore, Thread
from typing import Any, TypeVar

import torch

from condgen.bench.rounds import Block, finish

Item = TypeVar("Item")


class Stopped(BaseException):
    """Ends the loop; no handler of errors takes it for one."""


class Foreign:
    """A loop in a thread of its own, which waits at the next batch whenever no block of it is being timed.

    The loop must read its batches through `each`: a step is what happens between two of them. It goes on where it was,
    in its own process, so that it can take turns with other works.

    Args:
        run: Runs the loop; called with this object.
        size: Images in one batch.
        device: Where the loop computes.
        around: Surrounds each block, in the thread that times it.
    """

    def __init__(
        self,
        run: Callable[[Foreign], None],
        size: Callable[[Any], int],
        device: torch.device | str = "cpu",
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._run, self._size, self.device, self.around = run, size, torch.device(device), around
        self._go, self._waits = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._main, args=(torch.get_num_threads(),), daemon=True)
        self._stop = self._ended = False
        self._error: BaseException | None = None
        self._under: AbstractContextManager[object] = nullcontext()
        self._images = self._steps = self._least = 0
        self._until = 0.0
        self.setup_seconds = self._begin()

    def _begin(self) -> float:
        """Run up to the first batch; return the seconds that it took."""
        start = time.perf_counter()
        self._thread.start()
        self._waits.acquire()
        self._check()
        return time.perf_counter() - start

    def block(self, seconds: float, under: AbstractContextManager[object] = nullcontext()) -> Block:  # noqa: B008
        """Let the loop go on for so many seconds, at least one step.

        Raises:
            RuntimeError: If the loop has ended.
        """
        self._images, self._steps, self._least, self._under = 0, 0, 1, under
        wall, cpu = time.perf_counter(), time.process_time()
        self._until = wall + seconds
        with self.around():
            self._go.release()
            self._waits.acquire()
        done = Block(self._images, self._steps, time.perf_counter() - wall, time.process_time() - cpu)
        self._check()
        return done

    def close(self) -> None:
        """End the loop."""
        if not self._ended:
            self._stop = True
            self._go.release()
            self._thread.join()

    def each(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield the loop's batches, and wait between them while no block is timed."""
        for batch in batches:
            self._wait()
            self._images += self._size(batch)  # now, for after an epoch's last batch nobody comes back
            self._steps += 1
            yield batch

    # ------------------------------------------------------------------ the loop's thread

    def _main(self, threads: int) -> None:
        torch.set_num_threads(threads)  # OpenMP keeps the number for each thread
        try:
            self._run(self)
        except Stopped:
            pass
        except BaseException as error:  # it is raised where blocks are asked for
            self._error = error
        finally:
            self._ended = True
            self._waits.release()

    def _wait(self) -> None:
        if self._steps < self._least or time.perf_counter() < self._until:
            return
        self._under.__exit__(None, None, None)
        finish(self.device)
        self._waits.release()
        self._go.acquire()
        if self._stop:
            raise Stopped
        self._under.__enter__()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended:
            raise RuntimeError("the loop has ended before it was to be stopped")
