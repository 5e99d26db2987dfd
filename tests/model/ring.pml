/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring of shm/include/mserve/shm/ring.hpp with CAP lines: frames of 1..FRAME_MAX lines of any order of
 * lengths, padding frames, in-band commit, zeroing. A line has two cells: `word`, which is the commit word
 * of a frame that starts there and payload otherwise, and `body`. All payload in `word` looks like the commit
 * word of a frame of one line, and the ring starts full of it.
 *
 * Memory: the producer's stores wait in a buffer. Memory takes them in any order, except that stores to one line
 * stay in order and a release store comes after all stores before it (weaker than any processor's rule).
 *
 * Properties: the consumer sees frame after frame as they were committed, of the right length, each body whole
 * until its release; whoever is not done can go on (an invalid end state otherwise).
 *
 *   -DFRAMES=n      frames in all (7)        -DRECLAIM    sometimes a long claim is given up for a shorter one
 * What breaks it:
 *   -DNO_ZERO_NEXT  the line one beyond is not zeroed       -DNO_ZERO_END  nor the end of a longer frame
 *   -DZERO_LATE     the end of a longer frame is zeroed after its commit
 *   -DRESERVE=0     a claim leaves no line free behind its frame (two are right)
 *   -DE1_RELAXED    the commit is no release        -DE2_EARLY   the consumer releases before it has read
 *   -DPADDING_FIRST the padding frame is committed before the frame behind it
 *   -DTRUST_CLEAN   with RECLAIM: only the length that is committed decides about zeroing, not what was claimed
 */
#define CAP 8
#define FRAME_MAX 3
#define SLOTS 10         /* stores that the producer's buffer holds */
#ifndef FRAMES
#define FRAMES 7
#endif
#ifndef RESERVE
#define RESERVE 2
#endif
#define PADDING 4        /* commit word of a padding frame of n lines: PADDING + n */
#define FORGED 1         /* payload that looks like a commit word */
#define NO_BODY 14
#define KEEP 15          /* as word or body of a store: this cell stays as it is */

byte word[CAP] = FORGED; /* in memory */
byte body[CAP] = NO_BODY;
byte consumer_pos;       /* in memory; a cursor counts lines and only grows */
byte length[FRAMES];     /* what was committed: the consumer checks against it */
byte committed;          /* frames whose commit was issued */

byte slots;              /* the buffer, oldest first */
byte slot_line[SLOTS];
byte slot_word[SLOTS];
byte slot_body[SLOTS];
bool slot_release[SLOTS];

inline store(at, w, b, release) {
  assert(slots < SLOTS);
  slot_line[slots] = (at) % CAP;
  slot_word[slots] = w;
  slot_body[slots] = b;
  slot_release[slots] = release;
  slots++
}

/* Memory takes a store of the buffer whenever it likes. */
proctype memory() {
  byte i, k;
  bool allowed;
end:
  do
  :: atomic {
       slots > 0 ->
       i = 0;
       do
       :: i + 1 < slots -> i++
       :: break
       od;
       k = 0;
       d_step {
         allowed = (i == 0 || !slot_release[i]);
         k = 0;
         do
         :: k < i -> allowed = (allowed && slot_line[k] != slot_line[i]); k++
         :: else -> break
         od;
         k = 0
       };
       if
       :: allowed ->
            d_step {
              if
              :: slot_word[i] != KEEP -> word[slot_line[i]] = slot_word[i]
              :: else
              fi;
              if
              :: slot_body[i] != KEEP -> body[slot_line[i]] = slot_body[i]
              :: else
              fi;
              slots--;
              do
              :: i < slots ->
                   slot_line[i] = slot_line[i + 1];
                   slot_word[i] = slot_word[i + 1];
                   slot_body[i] = slot_body[i + 1];
                   slot_release[i] = slot_release[i + 1];
                   i++
              :: else -> break
              od;
              slot_line[slots] = 0;
              slot_word[slots] = 0;
              slot_body[slots] = 0;
              slot_release[slots] = 0;
              i = 0
            }
       :: else -> i = 0
       fi
     }
  od
}

/* Where a frame of n lines goes, and whether there is room. */
inline place(n) {
  d_step {
    padding = CAP - position % CAP;
    if
    :: n <= padding -> padding = 0
    :: else
    fi
  }
}
#define ROOM(n) (padding + n + RESERVE <= CAP - (position - consumer_pos))

/* Payload of a claim: the first word stays the commit's. */
inline fill(n, b) {
  k = 0;
  do
  :: k < n ->
       if
       :: k == 0 -> store(position + padding, KEEP, b, false)
       :: else -> store(position + padding + k, FORGED, b, false)
       fi;
       k++
  :: else -> break
  od;
  k = 0
}

#ifdef E1_RELAXED
#define E1 false
#else
#define E1 true
#endif

inline commit(n) {
  end_pos = position + padding + n;
#if !defined(NO_ZERO_END) && !defined(ZERO_LATE)
  if
  :: end_pos != position + 1 || dirty -> store(end_pos, 0, KEEP, false)
  :: else
  fi;
#endif
  if
  :: padding == 0 -> store(position, n, KEEP, E1)
  :: else ->
#ifdef PADDING_FIRST
       store(position, PADDING + padding, KEEP, E1);
       store(position + padding, n, KEEP, E1)
#else
       store(position + padding, n, KEEP, false);
       store(position, PADDING + padding, KEEP, E1)
#endif
  fi;
#ifdef ZERO_LATE
  if
  :: end_pos != position + 1 || dirty -> store(end_pos, 0, KEEP, false)
  :: else
  fi;
#endif
#ifndef NO_ZERO_NEXT
  store(end_pos + 1, 0, KEEP, false);
#endif
  position = end_pos;
  end_pos = 0
}

proctype producer() {
  byte position, padding, end_pos, lines, k;
  bool dirty;
  do
  :: committed < FRAMES ->
       atomic { select(lines : 1 .. FRAME_MAX) };
#ifdef RECLAIM
       atomic {
         place(FRAME_MAX);
         if
         :: lines < FRAME_MAX && ROOM(FRAME_MAX) && slots <= 1 ->
              d_step { fill(FRAME_MAX, NO_BODY); dirty = (padding == 0); padding = 0 }
         :: true
         fi
       };
#ifdef TRUST_CLEAN
       dirty = false;
#endif
#endif
       atomic {
         place(lines);
         ROOM(lines) && slots <= 1 + FRAME_MAX * dirty ->
         d_step {
           length[committed] = lines;
           fill(lines, committed);
           committed++;
           commit(lines);
           dirty = false;
           padding = 0;
           lines = 0
         }
       }
  :: else -> break
  od
}

proctype consumer() {
  byte position, published, got, w, k;
  do
  :: got < FRAMES ->
       if
       :: atomic { word[position % CAP] == 0 && published != position ->  /* dry */
            consumer_pos = position; published = position }
       :: atomic { word[position % CAP] != 0 -> w = word[position % CAP] };
            if
            :: w > PADDING ->
                 assert(w - PADDING == CAP - position % CAP);
                 position = position + w - PADDING;
                 w = word[position % CAP]
            :: else
            fi;
            assert(got < committed && w == length[got]);
#ifdef E2_EARLY
            consumer_pos = position + w;
#endif
            k = 0;
            do
            :: k < w -> assert(body[(position + k) % CAP] == got); k++
            :: else -> break
            od;
            atomic {
              length[got] = 0;
              position = position + w;
              got++;
              w = 0;
              k = 0
            };
            if
            :: position - published >= CAP / 4 -> consumer_pos = position; published = position
            :: else
            fi
       fi
  :: else -> break
  od
}


init {
  atomic {
    word[0] = 0;
    word[1] = 0;
    run memory();
    run producer();
    run consumer()
  }
}
