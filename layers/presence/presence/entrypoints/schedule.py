"""The schedule: once a minute, the sweep."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.bootstrap import app
from presence.entrypoints.runtime import (
    SPARE_MILLISECONDS,
    LambdaEvent,
    Response,
    logged,
    logger,
    now,
)


@logged
def sweep(_event: LambdaEvent, context: LambdaContext) -> Response:
    """Look at every connected user; stop in time."""
    count = app().sweep.run(
        now(), lambda: context.get_remaining_time_in_millis() > SPARE_MILLISECONDS
    )
    logger.append_keys(online=None if count is None else count.online)
    return {}
