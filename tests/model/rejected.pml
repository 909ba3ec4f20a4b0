/* The design that was not taken: a lease is an item of its own, and the status another one.
 *
 * FENCED is right: a fence on the status, arrivals in one transaction, dead leases deleted before
 * the others are counted. It needs each of these rules, and a transaction that is seen as a whole,
 * which plain reads of DynamoDB do not give. The design that was taken needs none of them.
 */
#define FENCED 1

#define I1   1    /* when nothing is under way, a stored lease means not offline             */
#define CALM 10   /* once nothing happens any more, what is stored is the truth              */

#ifdef ONLY
#define check(property, fact) assert(property != ONLY || (fact))
#else
#define check(property, fact) assert(fact)
#endif

bit lease[2];
bit over[2];         /* it looks as if it had run out                                       */
bit locked[2];       /* it is part of a transaction that is not yet seen as a whole         */
bit online;
byte fence;          /* how often the status was written                                    */
byte counter;        /* COUNTER: how many leases there are                                  */
bit live[2];         /* the client is there                                                 */
byte busy;

#ifdef UNFENCED
#define is_unchanged(read) true
#else
#define is_unchanged(read) (fence == read)
#endif

inline publish(status) {
    d_step { online = status; fence++ }
}

inline arrive(c) {
#if defined(COUNTER)
    d_step { live[c] = 1; lease[c] = 1; counter++; read = counter };
    if
    :: read == 1 -> publish(1)
    :: else
    fi
#elif defined(PARTIAL)
    d_step { live[c] = 1; locked[c] = 1; online = 1; fence++ };
    d_step { lease[c] = 1; over[c] = 0; locked[c] = 0 }
#else
    d_step { live[c] = 1; lease[c] = 1; over[c] = 0; online = 1; fence++ }
#endif
}

inline count(c) {
#ifdef SKIP_EXPIRED
    found = found || (lease[c] && !over[c]);
#else
    atomic {
        !lease[c] || !over[c] || !locked[c] ->
        lease[c] = lease[c] && !over[c];
        found = found || lease[c]
    };
#endif
}

/* Count the leases; if there are none, nobody is online. */
inline evaluate() {
#ifndef COUNTER
    d_step { read = fence; found = 0 };
    count(0);
    count(1);
    d_step {
        if
        :: !found && is_unchanged(read) -> online = 0; fence++
        :: else
        fi
    }
#else
    skip
#endif
}

inline depart(c) {
#ifdef COUNTER
    d_step { lease[c] = 0; counter--; read = counter };
    if
    :: read == 0 -> publish(0)
    :: else
    fi
#else
    lease[c] = 0;
    evaluate()
#endif
}

#define locals byte read; bit found
#define finish() d_step { read = 0; found = 0; busy-- }

proctype Arrive(bit c) {
    locals;
    arrive(c);
    finish()
}

proctype Depart(bit c) {
    locals;
    atomic { live[c] -> live[c] = 0 };
    lease[c];
    depart(c);
    finish()
}

/* One lease looks as if it had run out, and its owner was only late. */
proctype Late(bit c) {
    lease[c];
    over[c] = lease[c];
    over[c] = 0;
    busy--
}

proctype Sweep() {
    locals;
    evaluate();
    finish()
}

/* Whoever is there and was forgotten says so once more. */
inline come_back(c) {
    if
    :: live[c] && !lease[c] -> lease[c] = 1; online = 1
    :: else
    fi
}

init {
    atomic {
        busy = 5;
        run Arrive(0); run Arrive(1); run Depart(1); run Late(0); run Sweep()
    };
    atomic {
        busy == 0;
        check(I1, online || !(lease[0] || lease[1]));
        come_back(0);
        come_back(1);
        check(CALM, online == (live[0] || live[1]))
    }
}
