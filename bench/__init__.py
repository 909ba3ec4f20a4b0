"""Measurements: what a route costs, how soon others hear, what a cold start takes.

`make bench` runs them all. Nothing here is a test: nothing fails because a machine is slow.
"""
