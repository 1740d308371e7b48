package demo

import (
	"context"
	"encoding/json"
	"fmt"
)

// page is how many documents are read at a time.
const page = 1000

// verify reads every document of the shard and compares it with what was
// acknowledged.
func verify(ctx context.Context, node *dataNode, m *model, each func(read int)) (Documents, error) {
	d := Documents{Written: m.written, Updated: m.updated, Deleted: m.deleted, Live: m.live()}
	for start := 0; start < len(m.documents); start += page {
		revisions, err := readPage(ctx, node, start)
		if err != nil {
			return d, fmt.Errorf("read documents back: %w", err)
		}
		for seq := start; seq < min(start+page, len(m.documents)); seq++ {
			d.compare(m, seq, revisions[seq])
		}
		each(min(start+page, len(m.documents)))
	}
	return d, nil
}

// compare looks at one document, of which the shard has these revisions.
func (d *Documents) compare(m *model, seq int, has []int) {
	switch alive := m.alive(seq); {
	case !alive:
		d.CameBack += len(has)
	case len(has) == 0:
		d.Lost++
	default:
		d.CameBack += len(has) - 1 // an older one beside the newest
		if newest := m.documents[seq].Rev; has[0] != newest {
			d.Outdated++
		}
	}
}

// readPage returns the revisions of the documents from seq on.
func readPage(ctx context.Context, node *dataNode, start int) (map[int][]int, error) {
	body, err := json.Marshal(object{
		"query": between("seq", start, start+page-1), "size": 2 * page, "source": true, "sort": []string{"_id"},
	})
	if err != nil {
		return nil, err
	}
	f, err := node.search(ctx, body)
	if err != nil {
		return nil, err
	}
	if f.Hits.Total != uint64(len(f.Hits.Hits)) {
		return nil, fmt.Errorf("%d of %d documents came back for %d to %d", len(f.Hits.Hits), f.Hits.Total, start, start+page-1)
	}
	revisions := map[int][]int{}
	for _, h := range f.Hits.Hits {
		var source struct{ Seq, Rev int }
		if err := json.Unmarshal(h.Source, &source); err != nil {
			return nil, fmt.Errorf("document %s: %w", h.ID, err)
		}
		revisions[source.Seq] = append(revisions[source.Seq], source.Rev)
	}
	return revisions, nil
}
