package dataapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
)

// collect submits a garbage collection. The body is its parameters; an empty one is about the whole store.
func collect(submit func(context.Context, remotegc.Params) (task string, err error)) func(*http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) {
		var params remotegc.Params
		if err := decode(r, &params); err != nil {
			return 0, nil, err
		}
		if err := params.Validate(); err != nil {
			return 0, nil, fmt.Errorf("%w: %w", datanode.ErrInvalid, err)
		}
		id, err := submit(r.Context(), params)
		if err != nil {
			return 0, nil, err
		}
		return http.StatusAccepted, map[string]string{"task": id}, nil
	}
}
