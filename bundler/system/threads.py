"""Effect: work in a thread beside the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from threading import Event, Thread

__all__ = ["read_ahead"]


@contextmanager
def read_ahead(chunks: Iterator[bytes], depth: int = 4) -> Iterator[Iterator[bytes]]:
    """Give an iterator over chunks that a thread creates, ``depth`` of them in advance.

    An error of the thread is raised in its place. At the end of the context the thread has ended.
    """
    waiting: Queue[bytes | BaseException | None] = Queue(depth)
    stopped = Event()

    def fill() -> None:
        last: BaseException | None = None
        try:
            for chunk in chunks:
                waiting.put(chunk)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the chunk is needed
            last = error
        waiting.put(last)

    def taken() -> Iterator[bytes]:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = Thread(target=fill, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for a place
            with suppress(Empty):
                waiting.get(timeout=0.01)
        thread.join()
