/* TWO users in a chat session, and what each of them is shown of the other.
 *
 * A change of a user is one step here: that compare-and-swap makes it one, lifecycle.pml shows.
 * So is time: a grace period is over at any moment, a lease has run out when its owner is dead.
 * README.md maps this to the code and says what it leaves out.
 */
#define MOVING    1   /* one changes, goes and comes back; the other listens                  */
#define MUTUAL    2   /* both come and go, and hear each other                               */
#define RETURNING 3   /* a subscriber goes and comes back                                    */
#define PARTING   4   /* two devices of one end, each in its way                             */

#define I6   6   /* once its disconnect is handled, a connection hears nothing               */
#define I7   7   /* back within the grace period: no subscriber hears anything               */
#define I8   8   /* a subscriber ends with what is stored of the users that they are shown   */
#define CALM 10  /* once nothing happens any more, the rows say who is there                 */

#ifdef ONLY
#define check(property, fact) assert(property != ONLY || (fact))
#else
#define check(property, fact) assert(fact)
#endif

#define OFFLINE 0
#define ONLINE  1
#define BUSY    2

/* ── what is stored ───────────────────────────────────────────────────────────────────────── */

#define FIRST(u)  (2 * (u))       /* each user has one connection, and then another           */
#define NEXT(u)   (2 * (u) + 1)
#define OWNER(c)  ((c) / 2)
#define OTHER(c)  (1 - (c) / 2)
#define TWIN(c)   ((c) % 2 -> (c) - 1 : (c) + 1)

bit open[4];         /* Connections: authenticated, and not closed                          */
bit joined[4];       /* Connections: chat_sessions                                          */
bit row[4];          /* Subscriptions: `session:`, who listens                              */
bit lease[4];        /* Users: leases                                                       */
bit inside[4];       /* Users: leases[c].sessions                                           */
bit grace[2];        /* Users: grace_until                                                  */
bit linger[2];       /* Users: lingering                                                    */
byte status[2];
byte version[2];
bit is_busy[2];      /* Users: choice                                                       */

#define is_connected(u) (lease[FIRST(u)] || lease[NEXT(u)])
#define is_here(u)    (is_connected(u) || grace[u])
#define is_held(u)    (inside[FIRST(u)] || inside[NEXT(u)])
#define is_waiting(u) ((grace[u] && !is_connected(u)) || (linger[u] && !is_held(u)))
#define is_inside(u)  (is_held(u) || linger[u])
#define is_member(u)  (status[u] != OFFLINE && is_inside(u))     /* Subscriptions: `members:` */

/* ── the stream of Users ──────────────────────────────────────────────────────────────────── */

#define RECORDS 6
typedef Records {
    byte count;
    byte next;                   /* what Announce comes to next                             */
    byte version[RECORDS];
    byte status[RECORDS];
    bit is_news[RECORDS];        /* the status is another one                               */
    bit was_member[RECORDS];
    bit is_member[RECORDS]
};
Records stream[2];
bit repeats = 1;     /* a batch may come again, once                                        */

/* ── what clients show ────────────────────────────────────────────────────────────────────── */

bit alive[4];        /* the client of this connection is there                              */
bit gone[4];         /* it was, and is not                                                  */
byte seen[2];        /* by viewer, the version that they have of the other                  */
byte shows[2];       /* by viewer, its status                                               */

typedef Post { bit is_there; byte to; byte version; byte status };
Post late;           /* a post that is still on its way, while others overtake it           */

/* ── what the properties need to remember ─────────────────────────────────────────────────── */

byte busy;           /* what has not finished yet                                           */
bit handled[4];
bit is_expected[2];  /* the user went, and no change is announced yet                       */
bit is_awaited[2];   /* the same, in the chat session                                       */
byte shared[2];      /* the last version that the session had to hear of                    */

#ifdef EVERYTHING_IS_NEWS
#define is_newer(what, viewer) true
#else
#define is_newer(what, viewer) (what > seen[viewer])
#endif

/* A client drops what is not newer, and hears nothing on a connection that it has given up. */
inline hear(c, what, how) {
    if
    :: alive[c] && is_newer(what, OWNER(c)) -> seen[OWNER(c)] = what; shows[OWNER(c)] = how
    :: else
    fi
}

/* ── domain/reducer.py, adapters/dynamodb/users.py ────────────────────────────────────────── */

/* How it was before, and a new record's place: they live no longer than one d_step. */
hidden byte old_status;
hidden byte old_member;
hidden byte n;

inline before(u) {
    old_status = status[u];
    old_member = is_member(u)
}

/* The status and the version that follow, and a record if a viewer sees a difference. */
inline after(u) {
    linger[u] = linger[u] && is_here(u);
    status[u] = (is_here(u) -> (is_busy[u] -> BUSY : ONLINE) : OFFLINE);
    version[u] = version[u] + (status[u] != old_status);
    if
    :: old_member || is_member(u) -> shared[u] = version[u]
    :: else
    fi;
    if
    :: status[u] != old_status || is_member(u) != old_member ->
        check(I7, !is_expected[u] || status[u] == old_status);
        check(I7, !is_awaited[u] || is_member(u) == old_member);
        n = stream[u].count;
        stream[u].version[n] = version[u];
        stream[u].status[n] = status[u];
        stream[u].is_news[n] = status[u] != old_status;
        stream[u].was_member[n] = old_member;
        stream[u].is_member[n] = is_member(u);
        stream[u].count++
    :: else
    fi
}

/* ── application/connections.py, application/chat_sessions.py ─────────────────────────────── */

inline authenticate(c) {
    before(OWNER(c));
    open[c] = 1;
    alive[c] = 1;
    lease[c] = 1;
    grace[OWNER(c)] = 0;
    after(OWNER(c));
    is_expected[OWNER(c)] = 0
}

/* Gate, row and user in one transaction. */
inline join(c) {
    if
    :: open[c] && lease[c] ->
        before(OWNER(c));
        joined[c] = 1;
#ifndef ROW_APART
        row[c] = 1;
#endif
        inside[c] = 1;
        linger[OWNER(c)] = 0;
        after(OWNER(c));
        is_awaited[OWNER(c)] = 0;
        is_in = 1
    :: else
    fi
}

/* Sessions.page: the members, then the users. */
inline snapshot(c) {
    atomic {
        if
        :: is_member(OTHER(c)) -> found = 1
        :: else
        fi
    };
    atomic {
        if
        :: found && status[OTHER(c)] != OFFLINE -> hear(c, version[OTHER(c)], status[OTHER(c)])
        :: else
        fi;
        found = 0
    }
}

proctype Connection(byte c; byte choices) {
    bit is_in, found;
    if
    :: c == FIRST(OWNER(c)) || gone[TWIN(c)]
    :: c != FIRST(OWNER(c)) && SCENE != PARTING -> goto out      /* no return       */
    fi;
    d_step { authenticate(c) };
#ifdef SNAPSHOT_FIRST
    snapshot(c);
#endif
    d_step { join(c) };
#ifdef ROW_APART
    if
    :: is_in -> row[c] = 1
    :: else
    fi;
#endif
#ifndef SNAPSHOT_FIRST
    if
    :: is_in -> snapshot(c)
    :: else
    fi;
#endif
    do
    :: d_step {
        choices && is_in && lease[c] ->
        before(OWNER(c)); is_busy[OWNER(c)] = !is_busy[OWNER(c)]; after(OWNER(c)); choices--
    }
    :: atomic { !(choices && lease[c]) || !is_in -> choices = 0; break }
    od;
out:
    atomic { is_in = 0; choices = 0; busy-- }
}

inline ends(c) {
    alive[c] = 0;
    gone[c] = 1;
    seen[OWNER(c)] = 0;              /* nothing is confirmed any more */
    shows[OWNER(c)] = OFFLINE
}

inline disconnected(c) {
    before(OWNER(c));
    if
    :: lease[c] ->
        lease[c] = 0;
#ifndef NO_LINGERING
        linger[OWNER(c)] = linger[OWNER(c)] || inside[c];   /* also if another is in it */
#ifdef LINGERS_ALONE
        linger[OWNER(c)] = linger[OWNER(c)] && !inside[TWIN(c)];
#endif
#endif
        is_awaited[OWNER(c)] = is_awaited[OWNER(c)] ||
                               (inside[c] && !(inside[TWIN(c)] && alive[TWIN(c)]));
        inside[c] = 0;
        grace[OWNER(c)] = 1;         /* also beside another: that one may be dead */
        is_expected[OWNER(c)] = is_expected[OWNER(c)] || !lease[TWIN(c)] || !alive[TWIN(c)]
    :: else
    fi;
    after(OWNER(c))
}

inline expires(c) {
    before(OWNER(c));
    lease[c] = 0;
#ifndef ONLY_THE_GATE_KNOWS
    was_in = inside[c];
#endif
    inside[c] = 0;
    is_expected[OWNER(c)] = is_expected[OWNER(c)] && grace[OWNER(c)];
    is_awaited[OWNER(c)] = is_awaited[OWNER(c)] && grace[OWNER(c)];
    after(OWNER(c))
}

inline close_record(c) {
    d_step { was_in = was_in || joined[c]; open[c] = 0; joined[c] = 0 }
}

/* $disconnect, which may die after each line; or none, and the lease runs out. */
proctype End(byte c) {
    bit was_in;
    lease[c];
    if
    :: d_step { ends(c) }
    :: goto out
    fi;
    if
    :: skip
    :: goto silent
    fi;
#ifdef ROWS_FIRST
    row[c] = 0;
#endif
    close_record(c);
    if
    :: skip
    :: goto silent
    fi;
#ifndef ROWS_FIRST
    row[c] = row[c] && !was_in;
#endif
    d_step { disconnected(c) };
    handled[c] = 1;
    goto out;
silent:
    was_in = 0;
    d_step { expires(c) };
    close_record(c);
    row[c] = row[c] && !was_in;
    handled[c] = 1;
out:
    atomic {
        check(I6, !handled[c] || !(row[c] || lease[c]));
        was_in = 0;
        busy--
    }
}

/* A timer of the user: the grace period is over, and no pending leave is left. */
proctype Grace(bit u) {
end:
    do
    :: atomic {
        is_waiting(u) ->
        d_step {
            before(u);
            is_expected[u] = 0;
            is_awaited[u] = 0;
            grace[u] = grace[u] && is_connected(u);
            linger[u] = linger[u] && is_held(u);
            after(u)
        }
    }
    od
}

/* ── fanout/announcer.py ──────────────────────────────────────────────────────────────────── */

#define at(u)     stream[u].next
#define in(u, n)  (stream[u].was_member[n] || stream[u].is_member[n])

/* A batch: the records from `first` to `last` say that there is something to tell; what that is,
 * the user as stored says.
 */
#if defined(OLDEST_WINS)
#define told(u, field, first, last) stream[u].field[first]
#elif defined(RECORD_IS_TOLD)
#define told(u, field, first, last) stream[u].field[last]
#else
#define told(u, field, first, last) field[u]
#endif
#ifdef RECORD_IS_TOLD
#define told_as_member(u, last) stream[u].is_member[last]
#else
#define told_as_member(u, last) is_member(u)
#endif
#ifdef AUDIENCE_AFTER
#define concerns(u, first, last) stream[u].is_member[last]
#else
#define concerns(u, first, last) (in(u, first) || in(u, last))
#endif
#ifdef NET_NEWS
#define status_before(u, n) (n == 0 -> OFFLINE : stream[u].status[(n == 0 -> 0 : n - 1)])
#define is_news(u, first, last) (stream[u].status[last] != status_before(u, first))
#else
#define is_news(u, first, last) (stream[u].is_news[first] || stream[u].is_news[last])
#endif
#define moves(u, which) (stream[u].was_member[which] != stream[u].is_member[which])
#ifdef NET_MOVES
#define has_moved(u, first, last) (stream[u].was_member[first] != stream[u].is_member[last])
#else
#define has_moved(u, first, last) (moves(u, first) || moves(u, last))
#endif
#define comes(u, first, last) (told_as_member(u, last) && has_moved(u, first, last))

inline post(c, what, how) {
    if
    :: SCENE == MOVING && row[c] && !late.is_there ->
        late.is_there = 1;
        late.to = c;
        late.version = what;
        late.status = how
    :: row[c] -> hear(c, what, how)
    :: else
    fi
}

inline tell(u, first, last) {
    if
    :: concerns(u, first, last) && (is_news(u, first, last) || comes(u, first, last)) ->
        post(FIRST(1 - u), told(u, version, first, last), told(u, status, first, last));
        post(NEXT(1 - u), told(u, version, first, last), told(u, status, first, last))
    :: else
    fi
}

/* A batch may come again, and then all behind it does; from a dead-letter queue one comes alone. */
proctype Announce(bit u) {
end:
    do
    :: atomic { at(u) < stream[u].count -> tell(u, at(u), at(u)); at(u)++ }
    :: atomic { at(u) + 1 < stream[u].count -> tell(u, at(u), at(u) + 1); at(u) = at(u) + 2 }
    :: d_step { repeats && at(u) -> repeats = 0; at(u) = 0 }
    :: atomic { at(u) > 1 -> tell(u, 1, 1) }
#ifdef JOBS_COME_LATE
    /* A job sends what was true when it was queued to those who subscribe when it runs. */
    :: d_step {
        row[FIRST(1 - u)] && at(u) > 1 && in(u, 1) ->
        hear(FIRST(1 - u), stream[u].version[1], stream[u].status[1])
    }
#endif
    od
}

proctype Late() {
end:
    do
    :: d_step {
        late.is_there ->
        hear(late.to, late.version, late.status);
        late.is_there = 0; late.to = 0; late.version = 0; late.status = 0
    }
    od
}

/* ── the end ──────────────────────────────────────────────────────────────────────────────── */

#define is_calm() (busy == 0 && !late.is_there && !is_waiting(0) && !is_waiting(1) && \
                   is_told(0) && (SCENE != MUTUAL || is_told(1)))
#define is_told(u)   (at(u) == stream[u].count)

#define listens(u)   ((alive[FIRST(u)] && row[FIRST(u)]) || (alive[NEXT(u)] && row[NEXT(u)]))
#define is_shown(u)  (is_member(u) || seen[1 - u])
#define is_right(u)  (!listens(1 - u) || !is_shown(u) || \
                      (seen[1 - u] == shared[u] && shows[1 - u] == status[u]))

#define is_true_of(c) (row[c] == alive[c] && lease[c] == alive[c] && open[c] == alive[c])

#if SCENE == MOVING
#define cast() busy = 4; run Connection(FIRST(0), 1); run Connection(NEXT(0), 0); \
    run Connection(FIRST(1), 0); run End(FIRST(0)); run Grace(0); run Announce(0); \
    run Late()
#elif SCENE == MUTUAL
#define cast() busy = 4; run Connection(FIRST(0), 0); run Connection(FIRST(1), 0); \
    run End(FIRST(0)); run End(FIRST(1)); run Grace(0); run Grace(1); run Announce(0); \
    run Announce(1)
#elif SCENE == PARTING
#define cast() busy = 4; run Connection(FIRST(0), 0); run Connection(NEXT(0), 0); \
    run End(FIRST(0)); run End(NEXT(0)); run Grace(0); run Announce(0)
#elif SCENE == RETURNING
#define cast() busy = 4; run Connection(FIRST(0), 2); run Connection(FIRST(1), 0); \
    run Connection(NEXT(1), 0); run End(FIRST(1)); run Grace(1); run Announce(0)
#endif

init {
    atomic { cast() };
    atomic {
        is_calm();
        check(I8, is_right(0) && (SCENE != MUTUAL || is_right(1)));
        check(CALM, is_true_of(0) && is_true_of(1) && is_true_of(2) && is_true_of(3))
    }
}
