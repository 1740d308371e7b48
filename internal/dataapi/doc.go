// Package dataapi serves a data node over HTTP: create shards, write, search, and see where their merges run.
//
//	PUT    /shards/{name}              create or open, with "mapping" or "fields"
//	DELETE /shards/{name}              stop serving it; ?purge=true deletes its data
//	GET    /shards                     statistics of all
//	POST   /shards/{name}/_bulk        NDJSON as OpenSearch takes it
//	PUT    /shards/{name}/docs/{id}    one document; GET and DELETE too
//	POST   /shards/{name}/_search      a query string, a match or a bleve query; GET with ?q=
//	POST   /shards/{name}/_refresh     make acknowledged writes searchable
//	GET    /shards/{name}/_stats
//	GET    /shards/{name}/_merges      where each merge runs, and why
//	POST   /shards/{name}/_merge       plan now; ?max_segments=1 or ?expunge=true
//	POST   /shards/{name}/reindex      copy it under another mapping, on offline nodes; answers the task's ID
//	GET    /settings                   dynamic settings; PUT changes them for all, ?here=true in this process alone
//	GET    /settings/_history          who set what, and when; ?key= of one
//	POST   /snapshots/{name}           keep shards as they are; GET tells how far it is, DELETE deletes it
//	POST   /snapshots/{name}/restore   bring them back; GET …/restore/{task} tells how far it is
//	GET    /snapshots                  all; ?repository=true for those that were copied, here and above
//	POST   /gc                         delete what nobody needs from the store, as a task
//	GET    /healthz /readyz /metrics
//
// A slash in the name of a shard or in an ID is written %2F. Writes take ?refresh=true or wait_for.
//
// It has no login: it belongs on loopback or into a network of its own. Requests under a host name that was not allowed
// are refused, and so are writes that a browser sends for another site's page.
package dataapi
