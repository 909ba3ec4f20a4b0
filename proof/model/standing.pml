/* What a back end decides of ONE user with two connections and a chat session: tokens that are
 * revoked, a removal from the session, and a token that allows less than the one before.
 *
 * A write is one step, and goes through only if what it depends on is as it was read: that a
 * transaction is one, lifecycle.pml shows. README.md maps this to the code.
 */
#define HANDSHAKE 1  /* a revocation beside a handshake, and beside a frame that comes late      */
#define BARRING   2  /* a removal beside a join, a handshake that names the session, a late frame */
#define NARROWING 3  /* a narrower token beside a join, and beside a frame that comes late        */

#define I18  18  /* what is revoked, or taken out, is so once the request is answered            */
#define I19  19  /* nothing outlasts the token that allowed it, and no late frame gives it back  */

#ifdef ONLY
#define check(property, fact) assert(property != ONLY || (fact))
#else
#define check(property, fact) assert(fact)
#endif

#define NONE          0
#define OPEN          1
#define AUTHENTICATED 2
#define CLOSED        3

#define OLD    1     /* allows the session; it is the one that is revoked                        */
#define FRESH  2     /* allows it too                                                            */
#define NARROW 3     /* does not                                                                 */
#define allows(token) ((token) == OLD || (token) == FRESH)

/* ── what is stored ───────────────────────────────────────────────────────────────────────── */

typedef User { byte revision; bit lease[2]; bit inside[2]; bit revoked; bit barred };
typedef Record { byte revision; byte state; byte token; bit inside };

User user;           /* Users: leases, leases[c].sessions, standing                             */
Record record[2];    /* Connections: state, token, chat_sessions                                */
bit row[2];          /* Subscriptions: `session:`, who hears                                    */

bit is_revoked;      /* the request was answered                                                */
bit is_removed;
bit is_narrowed;     /* the narrower token was admitted                                         */

#define accepts(who, token)  (!(who.revoked && (token) == OLD))

/* Everything that belongs together is written by now: looked at after each write. */
#define is_ours(c)   (record[c].state == AUTHENTICATED)
inline audit_one(c) {
    check(I18, !(is_revoked && is_ours(c) && record[c].token == OLD && user.lease[c]));
    check(I18, !(is_removed && (user.inside[c] || (row[c] && user.lease[c]))));
    check(I19, !is_ours(c) || !(row[c] || user.inside[c]) || allows(record[c].token));
}
inline audit() {
    audit_one(0);
    audit_one(1);
    check(I19, !is_narrowed || record[0].state == CLOSED || record[0].token == NARROW)
}

inline copy_user(from, to) {
    to.revision = from.revision;
    to.lease[0] = from.lease[0]; to.lease[1] = from.lease[1];
    to.inside[0] = from.inside[0]; to.inside[1] = from.inside[1];
    to.revoked = from.revoked; to.barred = from.barred
}
inline copy_record(from, to) {
    to.revision = from.revision; to.state = from.state;
    to.token = from.token; to.inside = from.inside
}

#define locals   User known; Record conn; byte tries; bit done
#define TRIES    2
#define as_read(c)   (conn.revision == record[c].revision)
#ifdef NO_CAS
#define unchanged()  true
#else
#define unchanged()  (known.revision == user.revision)
#endif

inline forget() {
    d_step {
        known.revision = 0; known.lease[0] = 0; known.lease[1] = 0; known.inside[0] = 0;
        known.inside[1] = 0; known.revoked = 0; known.barred = 0;
        conn.revision = 0; conn.state = 0; conn.token = 0; conn.inside = 0; tries = 0; done = 0
    }
}

/* ── application/connections.py ───────────────────────────────────────────────────────────── */

/* The lease, the record and the row after an admission by a token. */
inline admit(c, by, asked) {
    user.lease[c] = 1;
    user.inside[c] = ((conn.inside || asked) && allows(by) && !known.barred -> 1 : 0);
    user.revision++;
#ifdef ENDS_APART
    row[c] = row[c] || user.inside[c];
#else
    row[c] = user.inside[c];
    record[c].inside = user.inside[c];
#endif
    record[c].state = AUTHENTICATED;
    record[c].token = by;
    record[c].revision++
}

proctype Authenticate(bit c; byte by; bit asked) {
    locals;
    do
    :: tries < TRIES && !done -> tries++;
        d_step { copy_record(record[c], conn) };
        d_step { copy_user(user, known) };
        if
        :: conn.state == CLOSED || !accepts(known, by) -> done = 1
        :: else -> d_step {
            if
            :: unchanged() && as_read(c) && record[c].state != CLOSED ->
                admit(c, by, asked);
                done = 1;
                is_narrowed = is_narrowed || by == NARROW;
                audit()
            :: else
            fi
        }
        fi
    :: else -> break
    od;
#ifdef ENDS_APART
    atomic { row[c] = row[c] && user.inside[c]; record[c].inside = user.inside[c] };
#endif
    forget()
}

/* Access.readmit: a frame whose lease has run out; the record may have been read long ago. */
proctype Late(bit c) {
    locals;
    d_step { copy_record(record[c], conn) };
    d_step { copy_user(user, known) };
    if
    :: conn.state == AUTHENTICATED && !known.lease[c] && accepts(known, conn.token) -> d_step {
        if
#ifdef RETURN_BRINGS_TOKEN
        :: unchanged() && record[c].state == AUTHENTICATED ->
            admit(c, conn.token, 0);
            audit()
#else
        :: unchanged() && record[c].state == AUTHENTICATED && as_read(c) ->
            admit(c, record[c].token, 0);
            audit()
#endif
        :: else
        fi
    }
    :: else
    fi;
    forget()
}

/* The sweep, or any write, finds that the lease has run out. */
proctype Lapse(bit c) {
    if
    :: d_step { user.lease[c] -> user.lease[c] = 0; user.inside[c] = 0; user.revision++; audit() }
    :: skip
    fi
}

/* ── application/chat_sessions.py ─────────────────────────────────────────────────────────── */

proctype Join(bit c) {
    locals;
    do
    :: tries < TRIES && !done -> tries++;
        d_step { copy_record(record[c], conn) };
        d_step { copy_user(user, known) };
        if
        :: conn.state != AUTHENTICATED || !allows(conn.token) || known.barred || !known.lease[c] ->
            done = 1
        :: else -> d_step {
            if
            :: unchanged() && record[c].state == AUTHENTICATED &&
#ifdef CLAIM_LOOKED_AT_BEFORE
               true ->
#else
               allows(record[c].token) ->
#endif
                user.inside[c] = user.lease[c];
                row[c] = user.lease[c];
                record[c].inside = user.lease[c];
                record[c].revision++;
                user.revision++;
                done = 1;
                audit()
            :: else
            fi
        }
        fi
    :: else -> break
    od;
    forget()
}

/* ── application/removal.py ───────────────────────────────────────────────────────────────── */

/* Expiry.evict: the record first, then the rows, then the user. */
inline evict(c) {
    d_step { record[c].state = CLOSED; record[c].inside = 0 };
    row[c] = 0;
    d_step { user.lease[c] = 0; user.inside[c] = 0; user.revision++ }
}

inline evict_revoked(c) {
    if
    :: known.lease[c] && record[c].token == OLD && record[c].state == AUTHENTICATED -> evict(c)
    :: else
    fi
}

proctype Revoke() {
    locals;
#ifdef LEASES_READ_BEFORE
    d_step { copy_user(user, known) };
    d_step { user.revoked = 1; user.revision++ };
#else
    d_step { user.revoked = 1; user.revision++; copy_user(user, known) };
#endif
    evict_revoked(0);
    evict_revoked(1);
    d_step { is_revoked = 1; audit() };
    forget()
}

/* As `leave` does; of a closed connection only traces are left. */
inline end_part(c) {
    if
    :: known.inside[c] -> d_step {
        user.inside[c] = 0; user.revision++; row[c] = 0; record[c].inside = 0; record[c].revision++
    }
    :: else
    fi
}

proctype Remove() {
    locals;
#ifdef BARRED_LAST
    d_step { copy_user(user, known) };
    end_part(0);
    end_part(1);
    d_step { user.barred = 1; user.revision++ };
#else
    d_step { user.barred = 1; user.revision++; copy_user(user, known) };
    end_part(0);
    end_part(1);
#endif
    d_step { is_removed = 1; audit() };
    forget()
}

/* ── the scenes ───────────────────────────────────────────────────────────────────────────── */

#if SCENE == HANDSHAKE
#define cast() run Revoke(); run Authenticate(1, OLD, 0); run Authenticate(0, FRESH, 0); \
    run Lapse(0); run Late(0)
#elif SCENE == BARRING
#define cast() run Remove(); run Join(1); run Authenticate(0, FRESH, 1); run Lapse(0); \
    run Late(0)
#elif SCENE == NARROWING
#define cast() run Authenticate(0, NARROW, 0); run Join(0); run Lapse(0); run Late(0)
#endif

/* The first connection is there, by the old token, and in the session; the other has connected. */
init {
    atomic {
        record[0].state = AUTHENTICATED; record[0].token = OLD; record[0].inside = 1;
        user.lease[0] = 1; user.inside[0] = 1; row[0] = 1;
        record[1].state = (SCENE == HANDSHAKE -> OPEN : AUTHENTICATED);
        record[1].token = (SCENE == HANDSHAKE -> NONE : OLD);
        user.lease[1] = SCENE != HANDSHAKE;
        cast()
    }
}
