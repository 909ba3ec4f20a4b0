"""From one change to all its recipients.

stream records → `announcer` (one `diffs.UserDiff` for each user) → each of `sinks`; the sockets:
`recipients` of the topics → `planner` (pure) → `broadcast`: posts at once (`dispatch`), or jobs.
"""
