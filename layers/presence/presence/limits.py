"""Every quota of AWS and every limit of ours, once, with its source."""

# ── fan-out ────────────────────────────────────────────────────────────────────────────────

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

#: Entries on the watch list of one connection.
WATCHED_USERS = 1_000
#: Users in one transaction: TransactWriteItems takes 100 actions, of which two are for the
#: connection ("Quotas in Amazon DynamoDB").
WATCHED_AT_ONCE = 98

#: The users that a tick names at most.
SAMPLE = 50
#: A large room stays large until fewer than this share of `LargeAudience` are in it: it must not
#: change with every member who joins and leaves.
STAYS_LARGE = 0.8
#: A tick that is so late was lost.
LOST_TICK_MILLISECONDS = 60_000
#: Compare-and-swaps of a large room before the caller has to come again.
ROOM_ATTEMPTS = 8
