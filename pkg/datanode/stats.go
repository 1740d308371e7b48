package datanode

// Stats is what a shard holds and has done since it was opened here.
type Stats struct {
	Shard      string `json:"shard"`
	Generation uint64 `json:"generation"`            // newest known
	Searchable uint64 `json:"searchable_generation"` // that searches see
	Docs       uint64 `json:"docs"`
	Deleted    uint64 `json:"deleted"` // documents that are still in segments
	Segments   int    `json:"segments"`
	Bytes      int64  `json:"bytes"`
	CacheBytes int64  `json:"cache_bytes"` // of all shards
	Writable   bool   `json:"writable"`
	Writer     string `json:"writer"` // that opened the shard last, as far as is known

	Merges   MergeStats  `json:"merges"`
	Writes   WriteStats  `json:"writes"`
	Searches SearchStats `json:"searches"`
	Moved    MovedStats  `json:"moved"`
}

// MergeStats are the merges of a shard.
type MergeStats struct {
	Running      []Merge `json:"running"`
	Local        int64   `json:"local"`   // committed that ran here
	Offline      int64   `json:"offline"` // committed that ran on offline nodes
	Superseded   int64   `json:"superseded"`
	Failed       int64   `json:"failed"`
	Cancelled    int64   `json:"cancelled"`
	BytesIn      int64   `json:"bytes_in"`      // of the segments that were merged
	OfflineBytes int64   `json:"offline_bytes"` // of these, on offline nodes
	BytesMoved   int64   `json:"bytes_moved"`   // to and from the store by merges, wherever they ran
}

// WriteStats are the writes of a shard.
type WriteStats struct {
	Bulks     int64   `json:"bulks"`
	Documents int64   `json:"documents"`
	Deletes   int64   `json:"deletes"`
	Commits   int64   `json:"commits"`
	Conflicts int64   `json:"conflicts"` // commits made again because another writer was first
	Errors    int64   `json:"errors"`
	Busy      int64   `json:"busy"`
	Pending   int     `json:"pending_bytes"`
	Latency   Latency `json:"latency"`
}

// SearchStats are the searches of a shard.
type SearchStats struct {
	Count   int64   `json:"count"`
	Errors  int64   `json:"errors"`
	Running int64   `json:"running"`
	Latency Latency `json:"latency"`
}

// MovedStats are the bytes that went from and to the store for writes and searches.
type MovedStats struct {
	Read    int64 `json:"read"`
	Written int64 `json:"written"`
}

// Stats returns what the shard holds and has done.
func (sh *Shard) Stats() Stats {
	s := Stats{
		Shard: sh.name, CacheBytes: sh.node.cache.Bytes(), Searchable: sh.searchable(), Merges: sh.merges.stats(),
		Moved: MovedStats{sh.meter.Read(), sh.meter.Written()},
	}
	sh.mu.Lock()
	if sh.newest != nil {
		m := sh.newest.manifest
		s.Generation, s.Docs, s.Segments, s.Bytes = m.Generation, m.Docs(), len(m.Segments), m.Bytes()
		for _, seg := range m.Segments {
			s.Deleted += seg.Docs - seg.Live
		}
	}
	s.Writable, s.Writer = sh.successor == "" && !sh.closed, sh.writer.Node
	if sh.successor != "" {
		s.Writer = sh.successor
	}
	sh.mu.Unlock()
	c := &sh.counts
	s.Writes = WriteStats{
		Bulks: c.bulks.Load(), Documents: c.documents.Load(), Deletes: c.deletes.Load(), Commits: c.commits.Load(),
		Conflicts: c.conflicts.Load(), Errors: c.writeErrors.Load(), Busy: c.busy.Load(),
		Pending: sh.line.pending(), Latency: c.writing.stats(),
	}
	s.Searches = SearchStats{c.searches.Load(), c.searchErrors.Load(), c.searching.Load(), c.searched.stats()}
	return s
}
