/* The claim table of one task: claims, beats, settlements, what is owed, hops,
 * replays and cancels, as pkg/claims' scripts and pkg/node have them.
 *
 * Two nodes, a log that delivers records again, one Redis that may forget everything,
 * leases that may end at any time, processes that may die between any two steps. Each atomic
 * block is one script, one acknowledged record, or one step in a process' memory.
 *
 * How often something may go wrong: EXPIRES, CRASHES, FLUSHES, REDELIVERIES, DETACHES, REVOKES; what else there is:
 * TWIN (a record of the same id with other parameters), COPY (the same record twice),
 * REDRIVE (a dead letter is replayed), AGAIN (a unique task is submitted once more), CANCEL. Mutants: M_…, each one rule left out.
 */
#ifndef EXPIRES
#define EXPIRES 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef FLUSHES
#define FLUSHES 0
#endif
#ifndef REDELIVERIES
#define REDELIVERIES 1
#endif
#ifndef DETACHES
#define DETACHES 0
#endif
#ifndef REVOKES
#define REVOKES 1
#endif
#define MAXATTEMPTS 2
#define NREC 5

/* The order of a record or state: replay, attempt, hop. */
#define ORDER(replay, attempt, hop) ((replay)*16 + (attempt)*4 + (hop))
#define REPLAY(o) ((o)/16)
#define ATTEMPT(o) (((o)/4)%4)

/* Statuses. */
#define UNASSIGNED 1
#define RUNNING 2
#define SUCCESS 3
#define FAILED 4
#define CANCELLED 5
#define ENDED(s) ((s) >= SUCCESS)

/* Records: NONE, in the LOG (waiting for whoever polls), OPEN+n at node n, FINISHED and not yet committed for good. */
#define NONE 0
#define LOG 1
#define OPEN 2
#define FINISHED 4
byte at[NREC], order[NREC], params[NREC];

/* The state in Redis; s_order 0: absent. s_params 0: not known. s_token 0: never claimed. */
byte s_order, s_status, s_params, s_token;
bool s_owed, s_cancel;
byte lease, next_token = 1, claimant; /* claimant: who was granted last, which Redis knows by the token only */
bool cold, flushed, settled_before[2]; /* what had an event when Redis forgot */

/* Topics: what is acknowledged, per replay. */
bool succeeded[2], failed[2], cancelled[2], letter[2], conflict[3], told[3];
byte letter_params[2];
bool redriven;

byte expires = EXPIRES, crashes = CRASHES, flushes = FLUSHES, redeliveries = REDELIVERIES, detaches = DETACHES, revokes = REVOKES;

/* Answers to a claim. */
#define COLD 1
#define CONFLICTS 2
#define HELD 3
#define OWED 4
#define DONE 5 /* settled or superseded */
#define GRANTED 6

#define ROOM (at[0]==NONE || at[1]==NONE || at[2]==NONE || at[3]==NONE || at[4]==NONE)
#define SLOT (at[0]==NONE -> 0 : (at[1]==NONE -> 1 : (at[2]==NONE -> 2 : (at[3]==NONE -> 3 : 4))))
inline publish_record(o, p) { k = SLOT; order[k] = o; params[k] = p; at[k] = LOG; k = 0 }

#define EVENT(r) (succeeded[r] || failed[r] || cancelled[r])
#define CONFLICTING (s_order != 0 && s_params != 0 && REPLAY(order[r]) == REPLAY(s_order) && params[r] != s_params)

inline grant() {
  /* What has ended never runs again while Redis keeps its data; nor, when it forgot, what had its event by then. */
  assert(!EVENT(REPLAY(order[r])) || (flushed && !settled_before[REPLAY(order[r])]));
  if :: s_order == 0 || REPLAY(order[r]) > REPLAY(s_order) -> s_cancel = 0; s_params = params[r] :: else fi;
  s_order = order[r]; s_status = RUNNING; s_owed = 0;
  s_token = next_token; lease = next_token; token = next_token; next_token++; claimant = me;
  answer = GRANTED
}

/* What is owed stands in the state; the caller publishes it. */
inline owes() { answer = OWED; o_order = s_order; o_status = s_status; o_token = s_token }

inline judge() {
  if
  :: s_order == 0 -> grant()
  :: s_order != 0 && REPLAY(order[r]) < REPLAY(s_order) -> answer = DONE
  :: s_order != 0 && REPLAY(order[r]) > REPLAY(s_order) ->
     if
     :: !ENDED(s_status) -> answer = HELD
#ifdef M_ANEW_WHILE_OWED
     :: ENDED(s_status) -> grant()
#else
     :: ENDED(s_status) && s_owed -> owes()
     :: ENDED(s_status) && !s_owed -> grant()
#endif
     fi
  :: s_order != 0 && REPLAY(order[r]) == REPLAY(s_order) && (ENDED(s_status) || order[r] < s_order) ->
     if
#ifdef M_SUPERSEDED_FIRST
     :: order[r] < s_order -> answer = DONE
     :: order[r] >= s_order && s_owed -> owes()
#elif defined(M_TERMINAL_NOT_OWED)
     :: s_owed && order[r] < s_order -> owes()
     :: s_owed && order[r] >= s_order -> answer = DONE
#else
     :: s_owed -> owes()
#endif
     :: !s_owed -> answer = DONE
     fi
  :: s_order != 0 && REPLAY(order[r]) == REPLAY(s_order) && !ENDED(s_status) && order[r] >= s_order ->
     if
     :: s_cancel -> s_order = order[r]; s_status = CANCELLED; s_owed = 1; s_token = next_token; next_token++; owes()
     :: !s_cancel -> grant()
     fi
  fi
}

#ifdef M_CLAIM_WHILE_COLD
#define FORGETFUL 0
#else
#define FORGETFUL cold
#endif
#ifdef M_CONFLICT_AFTER_OWED
#define CONFLICT_SEEN (CONFLICTING && lease == 0 && !s_owed)
#else
#define CONFLICT_SEEN CONFLICTING
#endif
/* Of what runs, an older record is superseded as soon as the newer one is known to be published. */
#ifdef M_SUPERSEDED_WHILE_OWED
#define OUTDATED (s_order != 0 && order[r] < s_order)
#else
#define OUTDATED (s_order != 0 && order[r] < s_order && !s_owed)
#endif
inline claim() {
  if
  :: FORGETFUL -> answer = COLD
  :: !FORGETFUL && CONFLICT_SEEN -> answer = CONFLICTS
  :: !FORGETFUL && !CONFLICT_SEEN && lease != 0 && OUTDATED -> answer = DONE
  :: !FORGETFUL && !CONFLICT_SEEN && lease != 0 && !OUTDATED -> answer = HELD
  :: !FORGETFUL && !CONFLICT_SEEN && lease == 0 -> judge()
  fi
}

/* A settlement counts if the lease is ours, or gone and the state shows our token or nothing. */
#define OURS (lease == token || (lease == 0 && (s_order == 0 || (s_token == token && s_status == RUNNING) || (s_token == 0 && s_status == UNASSIGNED))))

/* settled writes a status at an order that never goes back. */
inline settled(status, o) {
  assert(s_order == 0 || s_token == 0 || claimant == me); /* a stale worker's report is refused */
  lease = 0;
  if :: s_order == 0 -> s_params = mine_params; s_cancel = 0; s_order = o
     :: else -> if :: o > s_order && !(s_cancel && status != SUCCESS) -> s_order = o :: else fi
  fi;
  s_status = status; s_token = token;
  if :: s_cancel && status != SUCCESS -> s_status = CANCELLED :: else fi;
  s_owed = 1; owes()
}

#define CRASH :: atomic { crashes > 0 -> crashes--; die() } goto idle

inline forget() { own = 0; answer = 0; token = 0; o_order = 0; o_status = 0; o_token = 0; mine = 0; mine_params = 0; hop = 0; k = 0; r = 0 }
inline die() {
  k = 0; do :: k < NREC -> if :: at[k] == OPEN+me -> at[k] = LOG :: else fi; k++ :: else -> break od;
  /* what was finished and not committed comes again */
  k = 0; do :: k < NREC -> if :: at[k] == FINISHED -> if :: at[k] = LOG :: skip fi :: else fi; k++ :: else -> break od;
  forget()
}
inline finish() { if :: own -> at[r] = FINISHED :: else fi; own = 0 }
/* The mark says that this very thing is published; it may get lost. */
inline mark() {
  if
  :: s_token == o_token && ENDED(s_status) == ENDED(o_status) &&
     ((ENDED(o_status) && REPLAY(s_order) == REPLAY(o_order)) || s_order == o_order) -> s_owed = 0
  :: else
  fi
}

proctype Node(byte me) {
  byte r, answer, token, o_order, o_status, o_token, mine, mine_params, hop, k; bool own;
idle:
  atomic {
    if
    :: at[0] == LOG -> r = 0
    :: at[1] == LOG -> r = 1
    :: at[2] == LOG -> r = 2
    :: at[3] == LOG -> r = 3
    :: at[4] == LOG -> r = 4
    fi;
    at[r] = OPEN+me; own = 1; mine = order[r]; mine_params = params[r]
  }
asking:
  atomic { claim() }
  if
  :: answer == COLD || answer == HELD -> atomic { at[r] = LOG; forget() } goto idle /* parked */
  :: answer == DONE -> atomic { finish(); forget() } goto idle
  :: answer == CONFLICTS -> atomic { conflict[mine_params] = 1; finish(); forget() } goto idle
  :: answer == OWED -> goto publish
  :: answer == GRANTED
  CRASH
  fi;
  do
  /* A beat that finds the lease gone puts it back. */
#ifdef M_PUT_BACK_ANY
  :: atomic { lease == 0 && s_order != 0 && s_token != token -> lease = token; s_token = token; s_status = RUNNING; claimant = me }
#endif
  :: atomic { lease == 0 && (s_order == 0 || (s_token == token && s_status == RUNNING) || (s_token == 0 && s_status == UNASSIGNED)) ->
       lease = token;
       if :: s_order == 0 -> s_params = mine_params; s_cancel = 0; s_order = mine :: else -> if :: mine > s_order -> s_order = mine :: else fi fi;
       s_status = RUNNING; s_token = token; s_owed = 0; claimant = me }
  /* Detach: the number is raised and owed, then the copy is published, then the record is finished. */
  :: atomic { detaches > 0 && own && lease == token && s_token == token && s_status == RUNNING && !s_owed && s_order%4 < 3 ->
       detaches--;
       s_order++; s_owed = 1; hop = s_order; owes(); o_status = UNASSIGNED }
     if
     :: atomic { ROOM -> publish_record(hop, mine_params); at[r] = FINISHED; own = 0; mine = hop }
     CRASH
     fi;
     if
     :: atomic { true -> if :: s_token == o_token && s_order == o_order && !ENDED(s_status) -> s_owed = 0 :: else fi }
     :: skip
     fi
  :: atomic { revokes > 0 && own -> revokes--; at[r] = LOG; own = 0 } /* the partition moves, the run goes on */
  :: atomic { true -> if :: OURS -> settled(SUCCESS, mine) :: else -> answer = 0 fi } break
  :: atomic { true ->
       if
       :: OURS ->
          if
          :: ATTEMPT(mine) < MAXATTEMPTS -> settled(UNASSIGNED, ORDER(REPLAY(mine), ATTEMPT(mine)+1, 0))
          :: else -> settled(FAILED, mine)
          fi
       :: else -> answer = 0
       fi } break
  CRASH
  od;
  if
  :: answer == 0 && own -> goto asking /* stale: the claim loop says what became of it */
  :: answer == 0 && !own -> atomic { forget() } goto idle
  :: else
  fi;
publish:
  if
  :: o_status < SUCCESS ->
     if
     :: atomic { ROOM -> publish_record(o_order, mine_params) }
     CRASH
     fi
  :: o_status == SUCCESS ->
     if
     :: atomic { true -> succeeded[REPLAY(o_order)] = 1; told[mine_params] = 1 }
     CRASH
     fi
  :: o_status == CANCELLED ->
     if
     :: atomic { true -> cancelled[REPLAY(o_order)] = 1; told[mine_params] = 1 }
     CRASH
     fi
  :: o_status == FAILED ->
#ifdef M_EVENT_BEFORE_LETTER
     if
     :: atomic { true -> failed[REPLAY(o_order)] = 1; told[mine_params] = 1 }
     CRASH
     fi;
#endif
     if
     :: atomic { true -> letter[REPLAY(o_order)] = 1; letter_params[REPLAY(o_order)] = mine_params }
     CRASH
     fi;
#ifndef M_EVENT_BEFORE_LETTER
     if
     :: atomic { true -> failed[REPLAY(o_order)] = 1; told[mine_params] = 1 }
     CRASH
     fi
#endif
  fi;
  if
  :: own && REPLAY(order[r]) > REPLAY(o_order) -> /* a replay publishes what the last one owed, and asks again */
     atomic { mark() } goto asking
  :: else
  fi;
  if
  :: atomic { true -> finish() }
  CRASH
  fi;
  if
  :: atomic { true -> mark(); forget() }
  :: atomic { true -> forget() } /* no copy is around, or the mark is lost */
  CRASH
  fi;
  goto idle
}

#ifdef CANCEL
/* Somebody asks for the task to be cancelled, and publishes what that owes. */
proctype Canceller() {
  byte o_order, o_status, o_token; bool mine;
  atomic {
    !cold && s_order != 0 && !ENDED(s_status) ->
    if
    :: lease != 0 || s_status != UNASSIGNED -> s_cancel = 1
    :: else -> s_status = CANCELLED; s_cancel = 1; s_owed = 1; s_token = next_token; next_token++;
               mine = 1; o_order = s_order; o_status = s_status; o_token = s_token
    fi
  }
  if
  :: mine -> atomic { cancelled[REPLAY(o_order)] = 1; told[1] = 1 }
     atomic { mark() }
  :: mine -> skip /* it dies first */
  :: else
  fi
}
#endif

inline forget_all() {
  flushed = 1; settled_before[0] = EVENT(0); settled_before[1] = EVENT(1); cold = 1; s_order = 0; s_status = 0; s_params = 0; s_token = 0; s_owed = 0; s_cancel = 0; lease = 0
}

/* The rebuild reads the newest event back, over a state that has not ended and is no newer. */
inline rebuild() {
  if
  :: EVENT(1) && (s_order == 0 || (!ENDED(s_status) && REPLAY(s_order) <= 1)) ->
     s_order = ORDER(1, MAXATTEMPTS, 0); s_params = 0; s_token = 0; s_owed = 0; s_cancel = 0; s_status = (succeeded[1] -> SUCCESS : (failed[1] -> FAILED : CANCELLED))
  :: !EVENT(1) && EVENT(0) && (s_order == 0 || (!ENDED(s_status) && REPLAY(s_order) == 0)) ->
     s_order = ORDER(0, MAXATTEMPTS, 0); s_params = 0; s_token = 0; s_owed = 0; s_cancel = 0; s_status = (succeeded[0] -> SUCCESS : (failed[0] -> FAILED : CANCELLED))
  :: else
  fi;
  cold = 0
}

proctype World() {
  byte k;
  do
  :: atomic { expires > 0 && lease != 0 -> expires--; lease = 0 }
  :: atomic { flushes > 0 -> flushes--; forget_all();
#ifdef M_TOKENS_REPEAT
       next_token = 1
#endif
     }
#ifdef M_NO_REBUILD
  :: atomic { cold -> cold = 0 }
#else
  :: atomic { cold -> rebuild() }
#endif
  :: atomic { redeliveries > 0 && (at[0]==FINISHED || at[1]==FINISHED || at[2]==FINISHED || at[3]==FINISHED || at[4]==FINISHED) ->
       redeliveries--;
       k = 0; do :: k < NREC -> if :: at[k] == FINISHED -> if :: at[k] = LOG :: skip fi :: else fi; k++ :: else -> break od; k = 0 }
  :: atomic { at[0] == FINISHED -> at[0] = NONE; order[0] = 0; params[0] = 0 } /* committed */
  :: atomic { at[1] == FINISHED -> at[1] = NONE; order[1] = 0; params[1] = 0 }
  :: atomic { at[2] == FINISHED -> at[2] = NONE; order[2] = 0; params[2] = 0 }
  :: atomic { at[3] == FINISHED -> at[3] = NONE; order[3] = 0; params[3] = 0 }
  :: atomic { at[4] == FINISHED -> at[4] = NONE; order[4] = 0; params[4] = 0 }
#ifdef AGAIN
  /* A unique key is submitted again once its state says that the task has ended. */
  :: atomic { ENDED(s_status) && !redriven && ROOM -> redriven = 1; publish_record(ORDER(1, 1, 0), 1) }
#endif
#ifdef REDRIVE
  /* Redrive publishes the outcome that the letter tells of, and then the replay. */
  :: atomic { letter[0] && !redriven && ROOM -> redriven = 1;
#ifndef M_REDRIVE_WITHOUT_EVENT
       failed[0] = 1; told[letter_params[0]] = 1;
#endif
       publish_record(ORDER(1, 1, 0), letter_params[0]) }
#endif
  od
}

/* A task is lost when no record of it is left in the log and its outcome is not there: what only a process knows dies with it. */
#define LIVE(i) (at[i] == LOG || at[i] == OPEN || at[i] == OPEN+1)
#define GONE (!LIVE(0) && !LIVE(1) && !LIVE(2) && !LIVE(3) && !LIVE(4))
#define KNOWN(r) (succeeded[r] || cancelled[r] || (failed[r] && letter[r]))
proctype Lost() {
  atomic { GONE && !(KNOWN(0) && (!redriven || KNOWN(1))) -> assert(false) }
}
#ifdef TWIN
proctype Unheard() {
  atomic { GONE && !((told[1] || conflict[1]) && (told[2] || conflict[2])) -> assert(false) }
}
#endif
#define TWO(r) ((succeeded[r] && failed[r]) || (succeeded[r] && cancelled[r]) || (failed[r] && cancelled[r]))
proctype Contradicted() {
  atomic { !flushed && (TWO(0) || TWO(1)) -> assert(false) }
}

init { atomic {
  order[0] = ORDER(0, 1, 0); params[0] = 1; at[0] = LOG;
#ifdef TWIN
  order[1] = ORDER(0, 1, 0); params[1] = 2; at[1] = LOG;
#endif
#ifdef COPY
  order[1] = ORDER(0, 1, 0); params[1] = 1; at[1] = LOG;
#endif
  run Node(0); run Node(1); run World(); run Lost(); run Contradicted();
#ifdef TWIN
  run Unheard();
#endif
#ifdef CANCEL
  run Canceller();
#endif
} }
