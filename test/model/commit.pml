/* The commit of one task's change to a shard: two workers, a lease that decides
 * nothing, a store whose create-only write has one winner per generation, writers beside them,
 * answers that get lost, workers that may pause for ever.
 *
 * M_OVERWRITE   a generation may be written twice
 * M_NO_APPLIED  the manifest does not remember the tasks that it holds
 */
#define WRITES 2
byte generation = 1;      /* the newest */
bool applied = 0;         /* the newest manifest names the task */
byte effects = 0;         /* how often its change is in it */
byte writes = WRITES;     /* of the data node beside */
byte survived = 0, acknowledged = 0; /* of these writes */

proctype Worker() {
  byte base; bool seen; byte changes, kept;
again:
  atomic { base = generation; seen = applied; changes = effects; kept = survived } /* reads the newest */
  if
#ifndef M_NO_APPLIED
  :: seen -> goto end
#endif
#ifdef M_NO_APPLIED
  :: true
#else
  :: !seen
#endif
  fi;
  /* any pause */
  if
#ifdef M_OVERWRITE
  :: atomic { true -> generation = base+1; applied = 1; effects = changes+1; survived = kept }
#else
  :: atomic { generation == base -> generation++; applied = 1; effects++ }
     if
     :: skip
     :: goto again /* the answer is lost, and the worker reads what there is now */
     fi
  :: atomic { generation != base -> goto again }
#endif
  fi;
  if
  :: goto end
  :: goto again /* it dies before it tells, and the task runs again */
  fi;
end: skip
}

/* The data node writes beside: it reads, and creates the next generation. */
proctype Writer() {
  byte base; bool seen; byte changes;
  do
  :: writes > 0 ->
     atomic { base = generation; seen = applied; changes = effects }
     if
     :: atomic { generation == base -> generation++; writes--; survived++; acknowledged++ }
     :: atomic { generation != base -> skip }
     fi
  :: else -> break
  od
}

init { atomic { run Worker(); run Worker(); run Writer() } }
ltl once { [] (effects <= 1) }
ltl kept { [] (survived == acknowledged) }
