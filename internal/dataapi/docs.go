package dataapi

import (
	"fmt"
	"net/http"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

func (s *server) get(r *http.Request, sh *datanode.Shard) (int, any, error) {
	doc, err := sh.Get(r.Context(), r.PathValue("id"))
	return http.StatusOK, doc, err
}

func (s *server) put(r *http.Request, sh *datanode.Shard) (int, any, error) {
	source, err := body(r, MaxDocBytes)
	if err != nil {
		return 0, nil, err
	}
	return one(r, sh, datanode.Op{Kind: datanode.Index, ID: r.PathValue("id"), Source: source})
}

func (s *server) remove(r *http.Request, sh *datanode.Shard) (int, any, error) {
	return one(r, sh, datanode.Op{Kind: datanode.Delete, ID: r.PathValue("id")})
}

// one carries out a single write.
func one(r *http.Request, sh *datanode.Shard, op datanode.Op) (int, any, error) {
	visible, err := refreshOf(r)
	if err != nil {
		return 0, nil, err
	}
	written, err := sh.Bulk(r.Context(), []datanode.Op{op})
	if err != nil {
		return 0, nil, err
	}
	item := written.Items[0]
	if item.Err != nil {
		return 0, nil, item.Err
	}
	done := map[string]any{"_id": op.ID, "result": item.Outcome.String(), "generation": written.Generation}
	if err := visible(r, sh, written.Generation); err != nil {
		done["refresh_error"] = err.Error()
	}
	return statusOf(item), done, nil
}

// refreshOf reads when a write is to be searchable. What it returns is called once the write is in the store.
func refreshOf(r *http.Request) (func(*http.Request, *datanode.Shard, uint64) error, error) {
	switch refresh := r.URL.Query().Get("refresh"); {
	case refresh == "wait_for":
		return func(r *http.Request, sh *datanode.Shard, generation uint64) error {
			return sh.WaitSearchable(r.Context(), generation)
		}, nil
	case refresh == "true", refresh == "" && r.URL.Query().Has("refresh"):
		return func(r *http.Request, sh *datanode.Shard, _ uint64) error {
			_, err := sh.Refresh(r.Context())
			return err
		}, nil
	case refresh == "false", refresh == "":
		return func(*http.Request, *datanode.Shard, uint64) error { return nil }, nil
	default:
		return nil, fmt.Errorf("%w: refresh is %q: use true, false or wait_for", datanode.ErrInvalid, refresh)
	}
}

func statusOf(item datanode.Item) int {
	switch item.Outcome {
	case datanode.Created:
		return http.StatusCreated
	case datanode.NotFound:
		return http.StatusNotFound
	case datanode.Exists:
		return http.StatusConflict
	case datanode.Refused:
		return http.StatusBadRequest
	case datanode.Updated, datanode.Deleted, datanode.Noop:
	}
	return http.StatusOK
}
