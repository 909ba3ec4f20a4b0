"""Who is online, decided in one place.

`domain` holds the rules and nothing else; `use_cases` holds the flows that read, decide and
write; `adapters` talk to AWS. `entrypoint` and `http_api` turn events into calls, and
`bootstrap` is the only module that puts the parts together.
"""
