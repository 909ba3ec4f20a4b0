"""Many invocations at once, one step at a time, in an order that a seed decides.

The real use cases are plain functions, so each runs on a greenlet of its own, and every call of a
port is a place where another one may go on instead.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet


class Crashed(BaseException):
    """The process is gone in the middle of something. No use case may catch it."""


@dataclass(eq=False)
class Task:
    """One invocation. `ended` hears the result, or what was raised.

    `began` and `deadline` are instants in epoch milliseconds, and `since` is when the oldest of
    what it has to tell was so.
    """

    name: str
    work: Callable[[], Any]
    ended: Callable[[Any], None]
    began: int
    deadline: int | None
    since: int
    hub: Any

    def __post_init__(self) -> None:
        self._thread = greenlet(self._run, self.hub)
        self._thread.task = self

    @property
    def is_over(self) -> bool:
        return bool(self._thread.dead)

    def resume(self, now: int) -> None:
        """Run to the next call of a port, or to the end; a late task is killed."""
        if self.deadline is not None and now > self.deadline and self._thread:
            self._thread.throw(Crashed)
        else:
            self._thread.switch()

    def _run(self) -> None:
        try:
            result = self.work()
        except (Exception, Crashed) as error:  # noqa: BLE001  who asked decides what it means
            self.ended(error)
        else:
            self.ended(result)


@dataclass
class Scheduler:
    rng: Random
    tasks: list[Task] = field(default_factory=list)
    hub: Any = field(default_factory=getcurrent)

    def spawn(
        self,
        name: str,
        work: Callable[[], Any],
        ended: Callable[[Any], None],
        *,
        began: int = 0,
        deadline: int | None = None,
        since: int | None = None,
    ) -> None:
        since = began if since is None else since
        self.tasks.append(Task(name, work, ended, began, deadline, since, self.hub))

    def step(self, now: int) -> None:
        """Let one of them run."""
        task = self.rng.choice(self.tasks)
        task.resume(now)
        if task.is_over:
            self.tasks.remove(task)


def pause() -> None:
    """Let another task go on; outside of a task there is none."""
    here = getcurrent()
    if hasattr(here, "task"):
        here.parent.switch()


def running() -> Task | None:
    """The task that asks."""
    return getattr(getcurrent(), "task", None)
