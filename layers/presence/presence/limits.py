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
#: DynamoDB: operations of one TransactWriteItems.
MAX_OPERATIONS = 100
#: DynamoDB: keys of one BatchGetItem.
MAX_BATCH_READ = 100
#: DynamoDB: requests of one BatchWriteItem.
MAX_BATCH_WRITE = 25

#: Compare-and-swaps of one item before the caller has to come again: the MAX_CONNECTIONS devices of
#: a user may come back at the same moment. The last pauses are long beside the time that one write
#: takes, or most writers would meet again; all of them take 7 s at most, less than a function has.
SWAP_ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.02
LONGEST_SWAP_PAUSE_SECONDS = 1.0
#: Tries of one write while other transactions hold its item.
CONFLICT_ATTEMPTS = 6

# ── users ──────────────────────────────────────────────────────────────────────────────────

MAX_CONNECTIONS = 20
MAX_SESSIONS = 50
#: Blocks are stored with the user, and a ping is billed by the size of the item it writes.
MAX_BLOCKED = 200
#: Viewers who were blocked, and hold other versions than the rest. Each has a row that goes in one
#: transaction with up to MAX_SESSIONS memberships.
MAX_RETURNED = 20
#: States of a user who hides that viewers go on seeing at the same time, until the grace period is
#: over. Each may have a text and data of its own, and all are stored with the user.
MAX_SCENES = 4
#: Timed choices that come back when a shorter one ends.
MAX_EARLIER_CHOICES = 3
#: The ids of blocked users, of chat sessions and of barred ones, the names of devices, the texts
#: and the data that are stored with a user, compressed: 200 UUIDs take 4,300. A ping of the user
#: who has most is billed as 10 units of 1 KB.
MAX_NAME_BYTES = 5_000
#: Blocks lifted in one transaction: each has a row, and so has each of MAX_SESSIONS memberships.
MAX_UNBLOCKED = MAX_OPERATIONS - MAX_SESSIONS - 10
#: So many changes of users that come together are written in transactions, of so many users each:
#: that costs twice the units, and a tenth of the time. A conflict of one makes all of them alone.
MANY_CHANGES, USERS_TOGETHER = 10, 25
#: Revoked tokens and barred chat sessions are stored with the user, as blocks are.
MAX_REVOKED = 50
MAX_BARRED = 100
#: How long one environment goes on without asking whether the tokens of a caller are revoked.
STANDING_MILLISECONDS = 5_000
#: Callers whose revoked tokens one environment remembers.
KNOWN_STANDINGS = 1_000
#: Pairs of users in one question to the owner's function: some 30 KB of the 6 MB it may get.
PAIRS_PER_QUESTION = 100
#: Such questions at the same time (botocore keeps ten connections), and how long more are put: the
#: changes of a batch, or the posts of a job, wait for the answers. The last ones take 4 s at most.
QUESTIONS_AT_ONCE = 10
VISIBILITY_SECONDS = 2.0
#: Users that one `verify` asks for.
MAX_VERIFIED = 10
#: When a user was heard is told in steps of this part of FreshSeconds: ten of its thirty seconds.
STEPS_OF_FRESH = 3
#: How long a busy socket is tried again with a probe: the asker waits, and asks again in a moment.
PROBE_POST_MILLISECONDS = 1_000
#: A user who never comes back is kept this long, unless hidden from a viewer: a block that ran out
#: by itself would show the user to the viewer who was blocked.
RETENTION_SECONDS = 90 * 24 * 60 * 60
#: How often erasing a user begins again because the user came back meanwhile.
ERASE_ATTEMPTS = 5
#: The online index is written when a user comes or goes. DynamoDB takes 1,000 writes a second for
#: each shard, API Gateway opens 500 connections a second by default, and a list reads all shards.
ONLINE_SHARDS = 8

#: Others are told of a user's choices once in each of these intervals of the clock, and of the last
#: one after as long again.
ANNOUNCED_MILLISECONDS = 1_000

# ── connections ────────────────────────────────────────────────────────────────────────────

#: After five minutes, a hidden tab runs its timers once a minute ("Heavy throttling of chained JS
#: timers", Chrome 88).
HIDDEN_TIMER_MILLISECONDS = 60_000
#: How late a ping may be after that.
LATE_MILLISECONDS = 15_000
#: API Gateway ends a connection after ten minutes without a frame, and a hidden tab is late.
MAX_HEARTBEAT_SECONDS = 540
#: A token is accepted for this long after its `exp`: the clocks of issuers differ.
TOKEN_LEEWAY_MILLISECONDS = 30_000
#: A token may not be valid for longer (`exp` - `iat`).
MAX_TOKEN_SECONDS = 24 * 60 * 60
#: RFC 7518, section 3.2: a key of HS256 has at least the size of its hash.
MIN_SECRET_BYTES = 32
#: HMAC secrets at once: the one that goes, and the one that comes.
MAX_SECRETS = 2
#: A connection may act once in this time on average, and BURST times at once.
ACTION_MILLISECONDS = 1_000
BURST = 20
#: Chat sessions that count as one action when they are joined or left together: a user who comes
#: back to MAX_SESSIONS has to get in at once, and each costs a read of its members.
SESSIONS_PER_ACTION = 10
#: A user has one unit in this time on average, over all connections and HTTP, and USER_BURST at
#: once: what MAX_CONNECTIONS tabs do that all come back and send their BURST.
USER_UNIT_MILLISECONDS = 200
USER_BURST = MAX_CONNECTIONS * BURST
#: Units of what is done, beside one for each frame or call, by what it writes and reads: a change
#: that others are told, an authentication, a block.
CHANGE_UNITS = 1
#: All rows of the user are read and deleted.
ERASE_UNITS = 50
#: Rows that one unit more writes (memberships that begin or end, subscriptions of a watch list).
ROWS_PER_UNIT = 25
#: Users that one unit more reads (lists, batches).
READS_PER_UNIT = 25
#: Reads over HTTP, in units, that one environment serves a user before it writes them to the
#: user's limit: a write costs ten times as much as a read.
UNCHARGED_UNITS = 10
#: Readers whose uncharged units one environment remembers.
KNOWN_READERS = 1_000
#: Frames before `authenticate`, and other frames that are refused without being charged, or beyond
#: the rate limit, after which one environment closes the socket; one is forgiven in each of these
#: times. A client that queues may be refused for some seconds.
MAX_UNAUTHENTICATED_FRAMES = 5
MAX_REFUSED_FRAMES = 100
REFUSED_FRAME_MILLISECONDS = 5_000
#: Sockets whose frames one environment counts.
KNOWN_STRIKES = 1_000
#: How often `typing` is relayed, for each connection and chat session; a stop also after its start.
TYPING_MILLISECONDS = 1_000
#: How long a receiver shows that a user types, if it hears nothing more.
TYPING_SHOWN_MILLISECONDS = 6_000
#: Pings closer to each other are charged to the rate limit, unless heartbeats are more frequent.
MIN_PING_MILLISECONDS = 10_000
#: The same `clientId` of a user in a chat session is the same message for so long. A client that
#: lost its connection waits 30 s for the next, and for an answer 10 s.
CLIENT_ID_MILLISECONDS = 10 * 60_000
#: A connection this young is not asked for chat sessions that it joined before a lease expired.
NEW_CONNECTION_MILLISECONDS = 10_000
#: A client that leaves on purpose has so long to close its socket.
LEAVE_SECONDS = 5
#: Calls of the authorizer at the same time for one `join` (botocore keeps ten connections).
AUTHORIZERS_AT_ONCE = 10
#: How often a `join` begins again because a fresh token came in between.
JOIN_ATTEMPTS = 3
#: The same of a `watch`: the first claim of a connection ends its list.
WATCH_ATTEMPTS = 3
#: How far the clocks of two functions are apart at most.
CLOCKS_APART_MILLISECONDS = 10_000
#: The sweep sets a timer for what falls due before the next sweep or the one after it.
SWEEP_AHEAD_MILLISECONDS = 120_000
#: The record of a connection is deleted when no event of its socket can come any more.
OPEN_RECORD_SECONDS = SOCKET_SECONDS + 15 * 60
#: The record of a closed connection outlives everything that was under way when it was closed.
CLOSED_RECORD_SECONDS = 15 * 60

# ── logs ───────────────────────────────────────────────────────────────────────────────────

#: Refusals of one code that have a log line, in each minute of an execution environment; of more,
#: a line says how many. A line costs as much as the refused frame itself.
REFUSALS_LOGGED = 10
#: An invocation that takes so long has a line. Usual ones take tens of milliseconds; clients give
#: up after ten seconds.
SLOW_MILLISECONDS = 1_000
#: An execution environment writes its metrics once in this time at most: a line costs as much as
#: the write of a ping.
METRICS_MILLISECONDS = 60_000
#: Values of one metric in such a line. Powertools writes a line by itself when there are 100.
METRIC_VALUES = 99

# ── protocol ───────────────────────────────────────────────────────────────────────────────

#: User ids, chat session ids, request ids and device names, matched as a whole: printable ASCII
#: without space, quotes, angle brackets, `/ ? # % \` and the `*` of the claim `chat_sessions`.
#: `.` and `..` are none: no path of a URL can hold them (RFC 3986, section 5.2.4).
ID_PATTERN = r"(?!\.{1,2}\Z)[!$&()+,\-.0-9:;=@A-Z\[\]^_a-z{|}~]{1,128}"
#: The same in words, for messages.
ID_CHARACTERS = "1 to 128 printable ASCII characters without spaces, quotes and / ? # % \\ < > *"
MAX_MESSAGE_BYTES = 8 * 1024
MAX_BODY_BYTES = 32 * 1024
MAX_DEPTH = 16
#: The last integer that a JavaScript client holds exactly (Number.MAX_SAFE_INTEGER).
MAX_INTEGER = 2**53 - 1
MAX_TEXT_LENGTH = 140
#: Of a user's data as compact JSON. It is stored with the user, and so billed with each ping.
MAX_DATA_BYTES = 1024
MAX_TOKEN_LENGTH = 6 * 1024
MAX_CONTENT_BYTES = 4 * 1024
MAX_PAGE, DEFAULT_PAGE = 100, 50
#: Members that the answer to a `join` of several chat sessions names, over all of them. More than
#: 250 would not fit into a frame, and each is read from the table.
LISTED_MEMBERS = 150

# ── fan-out ────────────────────────────────────────────────────────────────────────────────

#: Topics that are read for one part of a batch of changes, before it is asked whether there is time
#: for the next: two queries each of about 8 ms, and questions to the owner's function, within
#: PART_MILLISECONDS.
TOPICS_AT_ONCE = 1_000
PART_MILLISECONDS = 25_000
#: What one function posts itself, in about a second; more is shared out among jobs or parcels.
#: "Amazon API Gateway quotas": 10,000 requests a second for each account and Region.
POSTS_AT_ONCE = 10_000
#: How often a post is tried before the queue has to decide.
POST_ATTEMPTS = 5
#: Between two tries. SQS delays a message by at most 900 s ("Amazon SQS message quotas").
LONGEST_PAUSE_SECONDS = 60
#: The connections that one queued message with posts is for: one function serves them.
CONNECTIONS_PER_PARCEL = 500
#: The queue repeats a message for less than that: what is older came out of a dead-letter queue.
TOO_LATE_MILLISECONDS = 15 * 60_000

#: Of one message, and of all messages of a SendMessageBatch together. SQS took 256 KiB until
#: August 2025, and 1 MiB since ("Amazon SQS message quotas"); some emulators still take 256 KiB.
MESSAGE_BYTES = 256 * 1024
#: What a message has for posts, or for the payload of a job, with space for what is around them.
JOB_BUDGET = 240_000
#: Entries of a SendMessageBatch ("Amazon SQS message quotas").
MESSAGES_PER_BATCH = 10
#: How often a message of a batch is sent that SQS does not take.
SEND_ATTEMPTS = 3
#: After so many sockets that API Gateway did not close, the others are left to the next try: each
#: takes 3 s when it does not answer, and the timers of users are in the same queue.
UNCLOSED_SOCKETS = 2
#: Lost sockets in one timer: a batch of ten timers is handled in some seconds.
SOCKETS_PER_TIMER = 10

#: Rows of a shard, before it is split: so many are read and posted to by one job.
ROWS_PER_SHARD = 1_000
#: A topic of more shards has too many recipients without being read.
FEW_SHARDS = 8
MOST_SHARDS = 1_024
#: Shards of the topic that all connections subscribe to. One partition takes 1,000 writes a second
#: ("Best practices for designing and using partition keys", DynamoDB).
EVERYONE_SHARDS = 8
#: Rows that one environment writes to a topic before it asks how many shards there are.
ROWS_UNASKED = 64
#: Topics of which one environment remembers that.
KNOWN_TOPICS = 1_000
#: Subscribers that are read first: a large topic says so before the others are read.
FIRST_SUBSCRIBERS = 100
#: Subscribers of each further page; a Query answers with at most 1 MB.
SUBSCRIBERS_PER_PAGE = 1_000
#: Members that are read first: a large room says so before the others are read.
FIRST_MEMBERS = 100
#: Users who have blocked one viewer that are read first: few viewers have been blocked by more.
FIRST_BLOCKERS = 100

#: Connections that watch a user, as far as an explanation counts them.
EXPLAINED_WATCHERS = 1_000
#: Entries on the watch list of one connection.
WATCHED_USERS = 1_000
#: Entries of a page of the list, in bytes; with its keys, it takes one write unit of 1 KB.
WATCH_PAGE_BYTES = 900

#: The users that a tick names at most.
SAMPLE = 50
#: A large room stays large until fewer than this share of `LargeAudience` are in it: it must not
#: change with every member who joins and leaves.
STAYS_LARGE = 0.8
#: A tick that is so late was lost.
LOST_TICK_MILLISECONDS = 60_000
