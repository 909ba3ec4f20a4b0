"""Python client of Presence; docs/protocol.md says what each frame and route means.

`client.Client` is a user, `api.Api` serves back ends, `tokens` makes tokens for tests, and
`connection.Connection` is one socket. Nothing is imported here, so that `presence token` is quick.
"""
