"""The stack on your desk: a local AWS, the very template deployed to it, and tools to try it.

Nothing in here is deployed. What the local AWS lacks is bridged in `deploy`, each bridge with a
note that says when it can go.
"""
