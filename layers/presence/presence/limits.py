"""Every quota of AWS and every limit of ours, once, with its source.

A name says its unit; a name without one is a count.
"""

# ── AWS ────────────────────────────────────────────────────────────────────────────────────

#: API Gateway closes a WebSocket with 1009 for a frame beyond this size.
MAX_FRAME_BYTES = 32 * 1024
#: API Gateway waits this long for a function that serves a request (integration timeout).
INTEGRATION_SECONDS = 29
#: API Gateway ends every WebSocket after two hours.
SOCKET_SECONDS = 2 * 60 * 60
#: API Gateway may answer 410 Gone for a socket this young although it lives (seen on AWS).
YOUNG_SOCKET_MILLISECONDS = 10_000
#: SQS delays a message by this much at most (DelaySeconds).
MAX_DELAY_SECONDS = 900
#: SQS takes no larger message.
MAX_QUEUED_BYTES = 256 * 1024
#: DynamoDB: operations of one TransactWriteItems.
MAX_OPERATIONS = 100
#: DynamoDB: keys of one BatchGetItem.
MAX_BATCH_READ = 100
#: DynamoDB: requests of one BatchWriteItem.
MAX_BATCH_WRITE = 25

# ── users ──────────────────────────────────────────────────────────────────────────────────

MAX_CONNECTIONS = 20
MAX_SESSIONS = 50
#: Blocks are stored with the user, and a ping is billed by the size of the item it writes.
MAX_BLOCKED = 200
#: Blocks lifted in one transaction: each has a row, and so has each of MAX_SESSIONS memberships.
MAX_UNBLOCKED = MAX_OPERATIONS - MAX_SESSIONS - 10
#: A user who never comes back is kept this long, unless hidden from a viewer: a block that ran out
#: by itself would show the user to the viewer who was blocked.
RETENTION_SECONDS = 90 * 24 * 60 * 60
#: The online index is written when a user comes or goes. DynamoDB takes 1,000 writes a second for
#: each shard, API Gateway opens 500 connections a second by default, and a list reads all shards.
ONLINE_SHARDS = 8

# ── connections ────────────────────────────────────────────────────────────────────────────

#: Two heartbeats may be lost, and one be late, before a lease expires.
HEARTBEATS_PER_LEASE = 2.5
#: A token is accepted for this long after its `exp`: the clocks of issuers differ.
TOKEN_LEEWAY_MILLISECONDS = 30_000
#: A token may not be valid for longer (`exp` - `iat`).
MAX_TOKEN_SECONDS = 24 * 60 * 60
#: RFC 7518, section 3.2: a key of HS256 has at least the size of its hash.
MIN_SECRET_BYTES = 32
#: A connection may act once in this time on average, and BURST times at once.
ACTION_MILLISECONDS = 1_000
BURST = 20
#: How often `typing` is relayed, for each connection and chat session.
TYPING_MILLISECONDS = 1_000
#: How long a receiver shows that a user types, if it hears nothing more.
TYPING_SHOWN_MILLISECONDS = 6_000
#: Pings closer to each other are charged to the rate limit, unless heartbeats are more frequent.
MIN_PING_MILLISECONDS = 10_000
#: A connection this young is not asked for chat sessions that it joined before a lease expired.
NEW_CONNECTION_MILLISECONDS = 10_000
#: How far the clocks of two functions are apart at most.
CLOCKS_APART_MILLISECONDS = 10_000
#: The sweep sets a timer for what falls due before the next sweep or the one after it.
SWEEP_AHEAD_MILLISECONDS = 120_000
#: The record of a connection is deleted when no event of its socket can come any more.
OPEN_RECORD_SECONDS = SOCKET_SECONDS + 15 * 60
#: The record of a closed connection outlives everything that was under way when it was closed.
CLOSED_RECORD_SECONDS = 15 * 60

# ── protocol ───────────────────────────────────────────────────────────────────────────────

#: User ids, chat session ids, request ids and device names, matched as a whole.
ID_PATTERN = r"[A-Za-z0-9._~@+=-]{1,128}"
MAX_MESSAGE_BYTES = 8 * 1024
MAX_BODY_BYTES = 32 * 1024
MAX_DEPTH = 16
#: The last integer that a JavaScript client holds exactly (Number.MAX_SAFE_INTEGER).
MAX_INTEGER = 2**53 - 1
MAX_TEXT_LENGTH = 140
MAX_TOKEN_LENGTH = 6 * 1024
MAX_CONTENT_BYTES = 4 * 1024
MAX_PAGE, DEFAULT_PAGE = 100, 50
