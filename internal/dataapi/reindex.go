package dataapi

import (
	"net/http"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
)

// reindexRequest is a reindex of the shard that the path names. Without a target it is in place.
type reindexRequest struct {
	createRequest

	Target    string            `json:"target"`
	Query     string            `json:"query"`
	Transform reindex.Transform `json:"transform"`
	Slices    int               `json:"slices"`
	Conflicts reindex.Conflicts `json:"conflicts"`
	Rate      float64           `json:"rate"`
}

func (s *server) reindex(r *http.Request, sh *datanode.Shard) (int, any, error) {
	var request reindexRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	settings, err := request.settings()
	if err != nil {
		return 0, nil, err
	}
	p := reindex.Params{
		Target: request.Target, Mapping: settings.Mapping, Query: request.Query, Transform: request.Transform,
		Slices: request.Slices, Conflicts: request.Conflicts, Rate: request.Rate,
	}
	id, err := sh.Reindex(r.Context(), p)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, map[string]string{"task": id}, nil
}
