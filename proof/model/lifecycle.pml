/* The life of ONE user with two connections: which leases are stored, what is published of it.
 *
 * README.md maps this to the code and says what it leaves out. SCENE chooses who takes part,
 * ONLY=I6 checks one property alone, and any name of the table in variants.py breaks one rule.
 *
 * The clock is real but coarse: a handler takes `now` once, at its start, and may dawdle after
 * that for as long as it likes, as every handler does.
 */
#define MEETING 1   /* two connections come and go                                          */
#define DYING   2   /* handlers die halfway, and timers are lost                            */
#define LATE    3   /* pings come late                                                      */
#define WATCHED 4   /* a reader, and a subscriber                                            */
#define PROBED  5   /* viewers verify the user                                               */
#define TIMED   (SCENE == MEETING || SCENE == WATCHED || SCENE == PROBED)
#define CLEARED (SCENE == DYING)

#define LEASE   (SCENE == LATE -> 1 : (SCENE == PROBED -> 3 : 2))
#define GRACE   1
#define FRESH   1
#define PROBE   1
#define HORIZON 3

/* ── what can be checked ──────────────────────────────────────────────────────────────────── */

#define I1    1   /* a stored lease means not offline                                       */
#define I2    2   /* an answered user is there for a whole lease, unless they go             */
#define I3    3   /* a version names one stored state                                       */
#define I4    4   /* two announcements, one after the other, differ                         */
#define I6    6   /* once its disconnect is handled, nothing brings a connection back       */
#define I7    7   /* no user is announced as gone before their grace period is over          */
#define I8    8   /* an observer ends with the stored state                                 */
#define TIMER 9   /* a user in grace has a timer that will say when it is over               */
#define I21   21  /* who answers in time, and says so before the lease ends, stays           */
#define I22   22  /* one probe in FRESH, however many look                                   */
#define CALM  10  /* once nothing happens any more, what is stored is the truth              */

#ifdef ONLY
#define check(property, fact) assert(property != ONLY || (fact))
#else
#define check(property, fact) assert(fact)
#endif

/* ── what is stored ───────────────────────────────────────────────────────────────────────── */

#define NONE          0
#define OPEN          1
#define AUTHENTICATED 2
#define CLOSED        3

typedef User {
    byte revision;
    byte version;
    byte ends[2];    /* leases[c].expires_at, 0 for no lease                               */
    byte grace;      /* grace_until, 0 for none                                             */
#if SCENE == PROBED
    byte heard;      /* leases[0].seen_at                                                   */
    byte probed;     /* probed_at, 0 for never                                              */
#endif
    bit online       /* status                                                              */
};

User stored;
hidden User after;   /* what `reduce` makes; it lives no longer than one d_step              */
byte conn[2];        /* Connections: the state                                              */
bit knows[2];        /* Connections: whose it was, for the cleanup behind it                 */
bit hears[2];        /* Subscriptions: whether the connection has a row                      */

#define is_here(it)   (it.ends[0] || it.ends[1] || it.grace)
#define is_in(c)      (conn[c] == OPEN || conn[c] == AUTHENTICATED)
#define max(a, b)     (a > b -> a : b)
#define min(a, b)     (a < b -> a : b)

/* ── what is under way ────────────────────────────────────────────────────────────────────── */

byte clock = 1;
byte timers;         /* a bit for each instant for which check_user was asked                */
bit expiring[2];     /* a check of the lease was asked for                                  */
byte stream;         /* a bit for each version that was announced                           */
byte busy;           /* handlers that have not finished                                     */

/* ── what the properties need to remember ─────────────────────────────────────────────────── */

bit live[2];         /* the client is there, and has not been cut off                       */
bit handled[2];      /* $disconnect of it has been handled to its end                       */
byte promised[2];    /* until when the last answer says that it is in                       */
byte parted;         /* until when the user who left last is expected back                  */
byte named = 1;      /* a bit for each version that was stored                              */
byte up;             /* a bit for each of them that means "online"                          */
bit published;       /* what was announced last                                             */
#if SCENE == PROBED
bit asked;           /* a probe has come to the client                                      */
byte awaited;        /* when the last lease ends that a probe has shortened                  */
#endif

#define says_online(v) ((up >> v) & 1)
#define is_named(v)    ((named >> v) & 1)
#define kept(c)        (!live[c] || promised[c] <= clock || (stored.ends[c] && stored.online))
#define is_ghost(c)    (handled[c] && (stored.ends[c] || hears[c]))

/* The server ends a connection: not one that was answered as being in. */
inline cut_off(c) {
    check(I2, !live[c] || promised[c] <= clock);
    live[c] = 0
}

/* What must be true of the store after each write. */
inline audit() {
    check(I1, stored.online || !(stored.ends[0] || stored.ends[1]));
    check(I2, kept(0) && kept(1));
    check(I21, kept(0) && kept(1));
    check(I6, !is_ghost(0) && !is_ghost(1));
    check(I3, !is_named(stored.version) || says_online(stored.version) == stored.online);
    named = named | (1 << stored.version);
    up = up | (stored.online << stored.version)
}

inline announce() {
    check(I4, stored.online != published);
    check(I7, stored.online || parted <= clock);
    published = stored.online;
    stream = stream | (1 << stored.version)
}

/* ── domain/reducer.py ────────────────────────────────────────────────────────────────────── */

#define AUTHENTICATE 1
#define RENEW        2
#define DISCONNECT   3
#define TIME_PASSED  4
#define LAPSE        5
#define EXPECT       6

#ifdef SWEEP_BY_EXPIRY
#define grace_is_over(it) 0
#else
#define grace_is_over(it) (it.grace && it.grace <= now)
#endif
#ifdef SHORTENS_ANSWERED
#define shortens() (after.ends[0] != 0)
#else
#define shortens() (after.ends[0] != 0 && before.heard == unheard)
#endif
#ifdef IN_HASTE
#define asked_at was                 /* when it was marked */
#else
#define asked_at now
#endif
#define is_connected(it)  (it.ends[0] || it.ends[1])
#define wakes_at(it)      (is_connected(it) -> 0 : it.grace)

inline without_expired(c) {
    after.ends[c] = before.ends[c];
    if
    :: before.ends[c] && before.ends[c] <= now -> after.ends[c] = 0
    :: else
    fi
}

inline reduce(event, c) {
    without_expired(0);
    without_expired(1);
    after.grace = (!is_connected(after) && grace_is_over(before) -> 0 : before.grace);
    if
    :: event == AUTHENTICATE ->
#ifndef RETURN_SHORTENS
        after.ends[c] = max(after.ends[c], now + LEASE);
#else
        after.ends[c] = now + LEASE;
#endif
        after.grace = 0
    :: event == RENEW && after.ends[c] -> after.ends[c] = max(after.ends[c], now + LEASE)
#if SCENE == PROBED
    :: event == EXPECT && shortens() -> after.ends[c] = min(after.ends[c], asked_at + PROBE)
#ifdef PROBE_REPAIRS
    :: event == EXPECT && !after.ends[c] -> after.ends[c] = asked_at + PROBE
#endif
#endif
    :: event == DISCONNECT && after.ends[c] ->
        after.ends[c] = 0;
#ifndef NO_GRACE
        after.grace = now + GRACE    /* also beside another: that one may be dead */
#endif
    :: else
    fi;
    after.online = is_here(after);
#ifdef VERSION_STAYS
    after.version = before.version + (after.online && !before.online);
#else
    after.version = before.version + (after.online != before.online);
#endif
#if SCENE == PROBED
    after.heard = (event == AUTHENTICATE || event == RENEW -> max(before.heard, now) : before.heard);
#ifdef PROBE_COUNTS
    after.version = after.version + (event == EXPECT);
#endif
#endif
#ifdef EXPIRED_STAYS
    /* What ran out does not count, but stays where it is. */
    after.ends[0] = (after.ends[0] || event == DISCONNECT -> after.ends[0] : before.ends[0]);
    after.ends[1] = (after.ends[1] || event == DISCONNECT -> after.ends[1] : before.ends[1])
#endif
}

#define differs() (after.version != before.version || after.grace != before.grace || \
                   after.ends[0] != before.ends[0] || after.ends[1] != before.ends[1])

/* ── adapters/dynamodb/users.py ───────────────────────────────────────────────────────────── */

inline copy(from, to) {
    to.revision = from.revision;
    to.version = from.version;
    to.ends[0] = from.ends[0];
    to.ends[1] = from.ends[1];
    to.grace = from.grace;
#if SCENE == PROBED
    to.heard = from.heard;
    to.probed = from.probed;
#endif
    to.online = from.online
}

#define touches(c)   (before.ends[c] != after.ends[c])
#ifdef NO_LEASE_CONDITION
#define as_seen(c)   1
#else
#define as_seen(c)   (!touches(c) || stored.ends[c] == before.ends[c])
#endif
#ifdef NO_CAS
#define unchanged()  1
#else
#define unchanged()  (stored.revision == before.revision && as_seen(0) && as_seen(1))
#endif

inline save() {
    stored.revision++;
    stored.version = after.version;
    stored.ends[0] = (touches(0) -> after.ends[0] : stored.ends[0]);
    stored.ends[1] = (touches(1) -> after.ends[1] : stored.ends[1]);
    stored.grace = after.grace;
#if SCENE == PROBED
    stored.heard = (touches(0) -> after.heard : stored.heard);
#endif
    stored.online = after.online
}

/* ── application/user_changes.py ──────────────────────────────────────────────────────────── */

#define DONE    1
#define LOST    2
#define REFUSED 3
#define OVER    4    /* there is no lease any more that could be renewed                    */
#define GOOD    5    /* the lease that is said to have expired is good                      */

/* What happens to the connection record in the same transaction. */
#define NOTHING   0
#define ADMISSION 1
#define CLOSING   2

#ifdef NO_RECORD
#define lets(c, change) true
#else
#define lets(c, change) (change == NOTHING || conn[c] == AUTHENTICATED || \
                         (change == ADMISSION && conn[c] == OPEN))
#endif

inline schedule_expired(c) {
    if
    :: before.ends[c] && before.ends[c] <= now -> expiring[c] = 1
    :: else
    fi
}

inline schedule(event) {
    timers = timers |
        (wakes_at(after) != wakes_at(before) && wakes_at(after) -> 1 << wakes_at(after) : 0);
#if SCENE == PROBED && !defined(NO_PROBE_TIMER)
    timers = timers | (event == EXPECT && touches(0) && after.ends[0] -> 1 << after.ends[0] : 0);
#endif
    schedule_expired(0);
    schedule_expired(1)
}

inline conclude(event, c) {
    outcome = (event == RENEW && !after.ends[c] -> OVER : DONE);
    if
    :: event == AUTHENTICATE || (event == RENEW && after.ends[c]) ->
        promised[c] = max(promised[c], now + LEASE)
    :: else
    fi
}

/* One round: reduce what was read, ask for timers, write if the user is still as read. */
inline attempt(event, c, change) {
    reduce(event, c);
#ifndef TIMER_AFTER
    schedule(event);
#endif
    if
    :: event == LAPSE && after.ends[c] -> outcome = GOOD
    :: !(event == LAPSE && after.ends[c]) && !lets(c, change) -> outcome = REFUSED
    :: change == NOTHING && event != DISCONNECT && !differs() -> conclude(event, c)
    :: else ->
        if
        :: unchanged() ->
            if
            :: event == DISCONNECT && before.ends[c] > now -> parted = now + GRACE
            :: event == AUTHENTICATE -> parted = 0
            :: else
            fi;
            save();
#if SCENE == PROBED
            awaited = (event == EXPECT && touches(0) -> after.ends[0] : awaited);
#endif
            if
            :: change == ADMISSION ->
                conn[c] = AUTHENTICATED;
                knows[c] = 1;
#ifndef ROW_APART
                hears[c] = 1
#endif
            :: change == CLOSING -> conn[c] = CLOSED; cut_off(c)
            :: else
            fi;
            conclude(event, c);
            audit();
            if
            :: after.version != before.version -> announce()
            :: else
            fi
        :: else ->
            copy(stored, before);    /* the refusal says what is there */
            outcome = LOST
        fi
    fi
}

/* After a lost write the next try follows at once: to lose later is the same. */
inline apply(event, c, change) {
    atomic {
        do
        :: true -> d_step { attempt(event, c, change) };
            if
            :: outcome == LOST
            :: else -> break
            fi
        od;
        skip
    }
#ifdef TIMER_AFTER
    ;
    if
    :: d_step { reduce(event, c); schedule(event) }
    :: skip                          /* the function dies before it comes to that */
    fi
#endif
}

/* Nothing is won by reading later: what changes in between, the write finds out. */
inline begin() {
    d_step { now = clock; copy(stored, before) }
}

#if SCENE == PROBED
#define locals User before; byte now; byte outcome; byte was; byte unheard
#else
#define locals User before; byte now; byte outcome; byte was
#endif

inline finish() {
    d_step {
        now = 0; outcome = 0; was = 0;
        before.revision = 0; before.version = 0; before.grace = 0; before.online = 0;
        before.ends[0] = 0; before.ends[1] = 0;
#if SCENE == PROBED
        before.heard = 0; before.probed = 0; unheard = 0;
#endif
        busy--
    }
}

/* ── application/connections.py ───────────────────────────────────────────────────────────── */

proctype Authenticate(bit c) {
    locals;
    /* The first is the first to open, or each story would be told twice. */
    d_step { (c == 0 || conn[0] != NONE) -> conn[c] = OPEN; live[c] = 1 };
    begin();
#ifdef ROW_APART
    apply(AUTHENTICATE, c, ADMISSION);
    if
    :: outcome == DONE -> hears[c] = 1
    :: else
    fi;
    finish()
#else
    atomic { apply(AUTHENTICATE, c, ADMISSION); finish() }
#endif
}

inline answer_ping(c) {
    d_step {
        if
#ifdef PING_UPSERTS
        :: stored.ends[c] < now + LEASE ->
#else
        :: stored.ends[c] && stored.ends[c] < now + LEASE ->
#endif
            stored.ends[c] = now + LEASE;
            promised[c] = now + LEASE;
#if SCENE == PROBED
            stored.heard = now;
#endif
            outcome = DONE;
            audit()
        :: else ->
            copy(stored, before);
            outcome = LOST
        fi
    };
#ifdef REASSERT
    if
    :: outcome == DONE ->
        d_step {
            if
            :: !stored.online -> stored.online = 1; stored.version++; stored.revision++; announce()
            :: else
            fi
        }
    :: else
    fi;
#endif
    if
    :: outcome == LOST && before.ends[c] -> apply(RENEW, c, NOTHING)
    :: else
    fi;
    if
    :: outcome == LOST || outcome == OVER -> apply(AUTHENTICATE, c, ADMISSION)
    :: else
    fi
}

/* May be handled long after it was sent, and after the disconnect. */
proctype Ping(bit c) {
    locals;
    conn[c] != NONE;
    now = clock;
    if
    :: conn[c] == AUTHENTICATED -> answer_ping(c)
    :: conn[c] != AUTHENTICATED
    fi;
    finish()
}

inline close_record(c) {
    d_step {
        was = (conn[c] == OPEN -> OPEN : (knows[c] -> AUTHENTICATED : CLOSED));
        conn[c] = CLOSED;
        knows[c] = 0;
        cut_off(c)
    }
}

inline done_with(c) {
    d_step { handled[c] = 1; check(I6, !is_ghost(c)) }
}

inline disconnect(c) {
    begin();
#ifdef ROWS_FIRST
    hears[c] = 0;
#endif
#ifdef USER_FIRST
    apply(DISCONNECT, c, NOTHING);
    close_record(c);
#else
    close_record(c);
#endif
    if
    :: was == OPEN -> done_with(c)
    :: was == CLOSED                 /* the one that closed it finishes     */
    :: was == AUTHENTICATED && SCENE == DYING    /* the function dies here */
    :: was == AUTHENTICATED ->
#ifndef ROWS_FIRST
        hears[c] = 0;
#endif
#ifndef USER_FIRST
        if
        :: d_step { copy(stored, before) }
        :: skip                      /* a plain read that sees nothing of that               */
        fi;
#ifdef SKIP_NOOP
        if
        :: !before.ends[c]
        :: before.ends[c] -> apply(DISCONNECT, c, NOTHING)
        fi;
#else
        apply(DISCONNECT, c, NOTHING);
#endif
#endif
        done_with(c)
    fi
}

/* What becomes of a connection: it stays, it ends without a word, or $disconnect comes. */
proctype Fate(bit c) {
    locals;
    conn[c] != NONE;
    if
    :: skip
    :: live[c] = 0
    :: live[c] = 0;
        disconnect(c)
    fi;
    finish()
}

/* ── application/expiry.py, checks.py ─────────────────────────────────────────────────────── */

inline look() {
    apply(TIME_PASSED, 0, NOTHING)
}

/* Expiry.expire: the record is closed at an instant at which the lease is over. */
proctype Expired(bit c) {
    locals;
end:
    do
    :: atomic { expiring[c] -> expiring[c] = 0; busy++ };
        begin();
#ifdef LOOKS_FIRST
        outcome = (stored.ends[c] > now -> GOOD : DONE);
#else
        apply(LAPSE, c, CLOSING);
#endif
        if
        :: outcome == GOOD           /* it was only late, and is back */
        :: outcome != GOOD ->
            if
            :: outcome == REFUSED -> apply(TIME_PASSED, c, NOTHING)
            :: else
            fi;
#ifndef NO_CLEANUP
            disconnect(c);
            hears[c] = 0
#endif
        fi;
        finish()
    od
}

/* A timer of the user says where to look, and is never early. */
proctype Timer() {
    locals;
    byte at;
end:
    do
    :: atomic { timers & ((2 << clock) - 1) -> busy++ };
        d_step {
            at = 0;
            do
            :: !((timers >> at) & 1) -> at++
            :: else -> break
            od;
            timers = timers & ~(1 << at);
            at = 0
        };
        begin();
#ifdef BLIND_TIMER
        d_step { before.ends[0] = 0; before.ends[1] = 0; before.grace = 0 };
#endif
        atomic { look(); finish() }
    od
}

inline look_at_users_here() {
    if
    :: is_here(before) -> look()
    :: else
    fi
}

/* Sweep: the index proposes the users who are here. */
proctype Sweep() {
    locals;
    begin();
    atomic { look_at_users_here(); finish() }
}

/* ── application/verification.py ──────────────────────────────────────────────────────────── */

#if SCENE == PROBED
#define is_old(it)  (it.ends[0] > now && it.heard + FRESH <= now)
#ifdef PROBE_EACH
#define is_due(it)  true
#else
#define is_due(it)  (!it.probed || it.probed + FRESH <= now)
#endif

/* One of those who look may probe; the write says when the connection was heard last. */
inline mark() {
    d_step {
        if
        :: is_due(stored) ->
            check(I22, !stored.probed || stored.probed + FRESH <= now);
            stored.probed = now;
            copy(stored, before);
            outcome = (is_old(before) -> DONE : OVER);
            unheard = before.heard
        :: else -> outcome = LOST
        fi
    }
}

/* API Gateway takes the probe, and it comes; the client has until then, unless it knows of less. */
inline post() {
    d_step {
        asked = live[0];
        promised[0] = (live[0] -> min(promised[0], clock + PROBE) : promised[0])
    }
}

/* `now` is read once more after the post: the client has had no time before that. */
proctype Look() {
    locals;
    atomic {
        begin();
        if
        :: is_old(before) && is_due(before) -> mark()
        :: else
        fi
    };
    if
#ifdef SHORTENS_UNASKED
    :: outcome == DONE -> apply(EXPECT, 0, NOTHING)
#endif
    :: outcome == DONE -> post();
        atomic { was = now; now = clock; apply(EXPECT, 0, NOTHING) }
    :: true                          /* nothing to ask, not taken, or the function dies */
    fi;
    atomic { finish() }
}

/* A client answers at once; its frame may take its time. */
proctype Answer() {
    locals;
end:
    do
    :: atomic { asked -> asked = 0; busy++ };
        now = clock;
        if
        :: conn[0] == AUTHENTICATED -> answer_ping(0)
        :: conn[0] != AUTHENTICATED
        fi;
        finish()
    od
}
#endif

/* ── application/statuses.py, and its readers ─────────────────────────────────────────────── */

#if SCENE == WATCHED
byte seen;           /* the newest version that the observer has taken                       */
bit shows;           /* the status that it shows                                            */
byte told;           /* the versions that were announced to it                              */

inline hear(what, how) {
    if
#ifdef EVERYTHING_IS_NEWS
    :: true -> seen = what; shows = how
#else
    :: what > seen -> seen = what; shows = how
#endif
    :: else
    fi
}

/* A reader answers what is stored: what the clock has decided is stored first. */
proctype Read() {
    locals;
    begin();
#ifndef GET_UNSTORED
    look();
#endif
    d_step {
        reduce(TIME_PASSED, 0);
        check(I3, is_named(after.version) && says_online(after.version) == after.online);
        hear(after.version, after.online)
    };
    finish()
}

#define record(v) \
    atomic { (stream >> v) & 1 -> told = told | (1 << v); hear(v, says_online(v)) }

/* The stream: every record at least once, in any order, and perhaps again. */
proctype Announce() {
end:
    do
    :: record(1)
    :: record(2)
    :: record(3)
    :: record(4)
    :: record(5)
    od
}
#endif

/* ── the scenes ───────────────────────────────────────────────────────────────────────────── */

proctype Clock() {
    do
    :: clock < HORIZON -> clock++
    :: else -> break
    od
}

#if SCENE == MEETING
#define cast() busy = 4; run Authenticate(0); run Authenticate(1); run Fate(0); run Fate(1); \
    run Timer()
#elif SCENE == DYING
#define cast() busy = 4; run Authenticate(0); run Fate(0); run Ping(0); run Sweep(); \
    run Expired(0)
#elif SCENE == LATE
#define cast() busy = 5; run Authenticate(0); run Ping(0); run Ping(0); run Sweep(); \
    run Sweep()
#elif SCENE == WATCHED
#define cast() busy = 4; run Authenticate(0); run Fate(0); run Ping(0); run Read(); \
    run Timer(); run Announce()
#elif SCENE == PROBED
#define cast() busy = 4; run Authenticate(0); run Fate(0); run Look(); run Look(); \
    run Answer(); run Timer()
#endif

#define due()     (timers & ((2 << clock) - 1))
#if SCENE == WATCHED
#define all_told() (told == stream)
#else
#define all_told() true
#endif
#define is_cleared() (!CLEARED || (!expiring[0] && !expiring[1]))
#define is_calm() (busy == 0 && clock >= HORIZON && is_cleared() && all_told())
#define in(c)     (live[c] && conn[c] == AUTHENTICATED)
#define is_true_of(c) (in(c) == (stored.ends[c] != 0) && in(c) == hears[c])

init {
    locals;
    atomic { cast(); run Clock() };
    atomic {
        is_calm() && (!TIMED || !due());
        check(TIMER, wakes_at(stored) <= clock || (timers >> wakes_at(stored)) & 1);
#if SCENE == PROBED
        check(TIMER, !stored.ends[0] || stored.ends[0] != awaited || awaited > clock);
        asked = 0;
#endif
        /* Users who are there say so once more, and much time passes for the others. */
        clock = HORIZON + LEASE;
        now = clock;
        if
        :: in(0) -> answer_ping(0)
        :: else
        fi;
        if
        :: in(1) -> answer_ping(1)
        :: else
        fi;
        d_step { copy(stored, before) };
        look_at_users_here();
        timers = 0
    };
    atomic {
        is_calm();
        check(CALM, stored.online == (in(0) || in(1)));
#if CLEARED
        check(CALM, is_true_of(0) && is_true_of(1));
#endif
#if SCENE == WATCHED
        check(I8, shows == stored.online)
#endif
    }
}
