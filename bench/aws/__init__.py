"""What AWS does and does not document, measured on a stack that is deployed already.

    python -m bench.aws --stack NAME [--only EXPERIMENT]... [--quick]

Nothing is deployed or changed. Each experiment is a module: `observe` drives a stack and returns
what was seen, `evaluate` is pure and says what it means and what to change.
"""
