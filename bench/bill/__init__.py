"""The bill meter: what AWS would bill for a day of real clients against the real functions.

A build is driven through its edges alone: the bundle of its client, the handlers that its
template names, and the endpoints of DynamoDB, SQS, SSM and the management API. So any commit can
be measured that has these.
"""
