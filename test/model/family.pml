/* A parent and its child: waiting without a slot, wake-ups that get lost, bans, crashes,
 * a Redis that may forget, cancels. One slot for both. Every run must come to its end: a state
 * from which nothing goes on is an error.
 *
 * M_WAIT_HOLDS_SLOT  a waiting parent keeps its slot
 * M_WAKE_ONLY        nothing but the wake-up ends the wait
 * M_NO_BAN           a claim does not read the ancestors' states
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef FLUSHES
#define FLUSHES 1
#endif
#define ABSENT 0
#define UNASSIGNED 1
#define RUNNING 2
#define SUCCESS 3
#define FAILED 4
#define CANCELLED 5
#define ENDED(s) ((s) >= SUCCESS)
byte parent = UNASSIGNED, child = ABSENT; /* as Redis says */
byte parent_event, child_event;           /* as the results topic says */
bool parent_record = 1, child_record;     /* in the log, not finished */
bool parked, woken, slot = 1, parent_runs, child_runs;
byte crashes = CRASHES, flushes = FLUSHES, beats = 2;
bool cancelled_at_rest, cold;

#define BANNED (parent == FAILED || parent == CANCELLED)

/* The node that has the parent's record. */
proctype Parent() {
  do
  :: parent_event != 0 -> break
  :: parent_event == 0 ->
     /* asks when it is not parked, or was woken, or a beat has passed */
     if
#ifndef M_WAKE_ONLY
     :: atomic { parked && beats > 0 -> beats--; parked = 0 } /* a beat, at any time */
     :: atomic { timeout && parked -> parked = 0 } /* and in the end */
#endif
     :: atomic { !cold && slot && parent_record && !parent_runs && (!parked || woken) ->
          parked = 0; woken = 0;
          if
          :: ENDED(parent) -> parent_event = parent; parent_record = 0
          :: !ENDED(parent) -> slot = 0; parent_runs = 1; parent = RUNNING
          fi }
     :: parent_event != 0 -> goto over
     fi;
     if
     :: !parent_runs -> skip
     :: parent_runs ->
        if
        :: atomic { child == ABSENT -> child = UNASSIGNED; child_record = 1 } /* submits what is missing */
        :: child != ABSENT -> skip
        fi;
        if
        :: atomic { crashes > 0 -> crashes--; parent_runs = 0; slot = 1; parked = 0;
             if :: !ENDED(parent) -> parent = UNASSIGNED :: else fi }
        :: atomic { child == SUCCESS -> parent_runs = 0; slot = 1;
             if :: ENDED(parent) -> skip :: else -> assert(child_event == SUCCESS); parent = SUCCESS; parent_event = SUCCESS; parent_record = 0 fi }
        :: atomic { (child == FAILED || child == CANCELLED) -> parent_runs = 0; slot = 1;
             if :: ENDED(parent) -> skip :: else -> parent = FAILED; parent_event = FAILED; parent_record = 0 fi }
        :: atomic { !ENDED(child) -> parent_runs = 0; parked = 1;
#ifndef M_WAIT_HOLDS_SLOT
             slot = 1;
#endif
             if :: ENDED(parent) -> skip :: else -> parent = UNASSIGNED fi }
        fi
     fi
  od;
over: skip
}

proctype Child() {
  do
  :: child_event != 0 && !child_record -> break
  :: parent_event != 0 && child == ABSENT && !child_record -> break
  :: atomic { !cold && child_record && slot && !child_runs ->
       if
       :: child_event != 0 -> child_record = 0; if :: !ENDED(child) -> child = child_event :: else fi /* settled */
       :: child_event == 0 ->
          if
#ifndef M_NO_BAN
          :: BANNED -> child = CANCELLED; child_event = CANCELLED; child_record = 0; woken = 1
#endif
#ifdef M_NO_BAN
          :: true
#else
          :: !BANNED
#endif
             -> assert(!(cancelled_at_rest && parent_event == CANCELLED)); slot = 0; child_runs = 1; child = RUNNING
          fi
       fi }
  :: atomic { child_runs ->
       if
       :: true -> child = SUCCESS; child_event = SUCCESS
       :: true -> child = FAILED; child_event = FAILED
       fi;
       child_runs = 0; slot = 1; child_record = 0;
       if :: woken = 1 :: skip fi } /* the wake-up may get lost */
  :: atomic { child_runs && crashes > 0 -> crashes--; child_runs = 0; slot = 1; if :: child == RUNNING -> child = UNASSIGNED :: else fi }
  od
}

proctype World() {
  do
  :: atomic { flushes > 0 && !parent_runs && !child_runs -> flushes--; parent = ABSENT; child = ABSENT; cold = 1 }
  :: atomic { cold -> cold = 0; parent = (parent_event != 0 -> parent_event : UNASSIGNED); child = (child_event != 0 -> child_event : ABSENT) }
#ifdef CANCEL
  :: atomic { !cold && parent == UNASSIGNED && !parent_runs -> parent = CANCELLED; parent_event = CANCELLED; parent_record = 0; cancelled_at_rest = 1 }
#endif
  :: parent_event != 0 && (child_event != 0 || !child_record) && !cold -> break
  od
}

init { atomic { run Parent(); run Child(); run World() } }
