/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol of shm/include/mserve/shm/parking.hpp: producers commit, one consumer sleeps. Labels P1..P3
 * and C1..C4 are the steps named there.
 *
 * Memory: every store of interest waits in its process's buffer, a FIFO, until it reaches memory at any later
 * moment (TSO). System calls flush nothing here, except the membarrier, so that the argument does not lean on them.
 *
 * Property: the consumer gets every committed frame. One that sleeps for ever beside a frame, with no wake
 * on its way, is an invalid end state.
 *
 *   -DPRODUCERS=n   sessions that one barrier covers (1)      -DFRAMES=n   frames of each (2)
 *   -DFUTEX         sleep on a futex, woken by the waker thread, instead of on a descriptor
 *   -DFALLBACK      sequentially consistent P1, P2, C1, C3 instead of the membarrier
 * What breaks it:
 *   -DNO_BARRIER    C2 left out                      -DNO_RECHECK   C3 left out
 *   -DP2_FIRST      the compiler moved P2 before P1  -DC3_FIRST     C3 before C1
 *   -DWAKE_ONCE     the waker does not repeat a futex wake that woke nobody
 *   -DWEAK_P1, -DWEAK_C1   with FALLBACK: this store is not sequentially consistent
 */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#define SLEEPING 0
#define POLLING 1

byte committed[PRODUCERS];        /* frames whose commit word is in memory */
byte polled[PRODUCERS] = POLLING; /* in memory */
byte taken[PRODUCERS];            /* the consumer's own */
chan producer_stores[PRODUCERS] = [FRAMES] of { byte };
chan consumer_stores = [8] of { byte, byte };  /* which session, value of polled */

bool bell;                        /* descriptor: a byte waits */
bool in_kernel;                   /* futex: the consumer is where a wake finds it */
chan wakes = [8] of { byte };     /* data thread to waker thread */

/* Memory takes one store of one process whenever it likes. */
active proctype memory() {
  byte who, value;
end:
  do
  :: atomic { consumer_stores?[who, value] -> consumer_stores?who, value; polled[who] = value; who = 0; value = 0 }
  :: atomic { producer_stores[0]?[value] -> producer_stores[0]?committed[0] }
#if PRODUCERS > 1
  :: atomic { producer_stores[1]?[value] -> producer_stores[1]?committed[1] }
#endif
  od
}

proctype producer(byte me) {
  byte frame, seen;
  do
  :: frame < FRAMES ->
       frame++;
#ifdef P2_FIRST
       seen = polled[me];
       producer_stores[me]!frame;
#else
       producer_stores[me]!frame;                                   /* P1 */
#if defined(FALLBACK) && !defined(WEAK_P1)
       empty(producer_stores[me]);
#endif
       seen = polled[me];                                           /* P2 */
#endif
       if                                                           /* P3 */
       :: seen == POLLING
       :: else ->
#ifdef FUTEX
            wakes!me
#else
            bell = true
#endif
       fi
  :: else -> break
  od
}

#ifdef FUTEX
active proctype waker() {
  byte session;
end:
  do
  :: wakes?session ->
       do
       :: polled[session] == POLLING -> break
       :: else ->
            if
            :: atomic { in_kernel -> in_kernel = false }; break
            :: else ->
#ifdef WAKE_ONCE
                 break
#else
                 skip
#endif
            fi
       od
  od
}
#endif

inline look() {  /* C3: is there a frame that was not taken? */
  frame_there = false;
  p = 0;
  do
  :: p < PRODUCERS -> frame_there = (frame_there || committed[p] > taken[p]); p++
  :: else -> break
  od;
  p = 0
}

inline tell(value) {  /* C1, or awake again */
  p = 0;
  do
  :: p < PRODUCERS -> consumer_stores!p, value; p++
  :: else -> break
  od;
  p = 0
}

/* Between entry and return every producer's buffer is flushed, each at a moment of its own. */
inline membarrier() {
  empty(consumer_stores);
  p = 0;
  do
  :: p < PRODUCERS ->
       atomic {
         do
         :: nempty(producer_stores[p]) -> producer_stores[p]?committed[p]
         :: empty(producer_stores[p]) -> break
         od
       };
       p++
  :: else -> break
  od;
  p = 0
}

active proctype consumer() {
  byte p;
  bool frame_there, all;
  do
  :: /* Polls: takes what is there. */
     all = true;
     p = 0;
     do
     :: p < PRODUCERS -> taken[p] = committed[p]; all = (all && taken[p] == FRAMES); p++
     :: else -> break
     od;
     p = 0;
     if
     :: all -> break
     :: else
     fi;
#ifdef C3_FIRST
     look();
     tell(SLEEPING);
     empty(consumer_stores);
#else
     tell(SLEEPING);                                                /* C1 */
#ifdef FALLBACK
#ifndef WEAK_C1
     empty(consumer_stores);
#endif
#else
#ifndef NO_BARRIER
     membarrier();                                                  /* C2 */
#endif
#endif
#ifdef NO_RECHECK
     frame_there = false;
#else
     look();                                                        /* C3 */
#endif
#endif
     if                                                             /* C4 */
     :: frame_there
     :: else ->
#ifdef FUTEX
          in_kernel = true;
          !in_kernel
#else
          atomic { bell -> bell = false }
#endif
     fi;
     tell(POLLING)
  od
}

init {
  byte p;
  atomic {
    p = 0;
    do
    :: p < PRODUCERS -> run producer(p); p++
    :: else -> break
    od
  }
}
