"""Who is online, decided in one place.

`domain` decides and does no I/O; `protocol` reads requests and writes frames; `application` has the
use cases, `fanout` tells others what has changed. `adapters` talk to AWS, `entrypoints` turn events
of Lambda into calls, and `bootstrap` is the only module that puts the parts together.
"""
