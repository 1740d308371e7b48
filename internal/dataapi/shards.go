package dataapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

type createRequest struct {
	Mapping json.RawMessage   `json:"mapping"`
	Fields  map[string]string `json:"fields"`
}

func (c createRequest) settings() (datanode.Settings, error) {
	if len(c.Fields) == 0 {
		return datanode.Settings{Mapping: c.Mapping}, nil
	}
	if len(c.Mapping) > 0 {
		return datanode.Settings{}, fmt.Errorf("%w: mapping and fields exclude each other: give one", datanode.ErrInvalid)
	}
	mapping, err := datanode.FieldsMapping(c.Fields)
	return datanode.Settings{Mapping: mapping}, err
}

func (s *server) create(r *http.Request) (int, any, error) {
	var request createRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	settings, err := request.settings()
	if err != nil {
		return 0, nil, err
	}
	sh, created, err := s.node.Create(r.Context(), r.PathValue("name"), settings)
	if err != nil {
		return 0, nil, err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return status, map[string]any{"shard": sh.Name(), "created": created, "generation": sh.Stats().Generation}, nil
}

func (s *server) drop(r *http.Request) (int, any, error) {
	purge, err := flag(r, "purge")
	if err != nil {
		return 0, nil, err
	}
	name := r.PathValue("name")
	if err := s.node.Drop(r.Context(), name, purge); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]any{"shard": name, "purged": purge}, nil
}

func (s *server) list(*http.Request) (int, any, error) {
	all := []datanode.Stats{}
	for _, sh := range s.node.Shards() {
		all = append(all, sh.Stats())
	}
	return http.StatusOK, map[string]any{"shards": all}, nil
}

func (s *server) stats(_ *http.Request, sh *datanode.Shard) (int, any, error) {
	return http.StatusOK, sh.Stats(), nil
}

func (s *server) refresh(r *http.Request, sh *datanode.Shard) (int, any, error) {
	generation, err := sh.Refresh(r.Context())
	return http.StatusOK, map[string]any{"generation": generation}, err
}

func (s *server) merges(_ *http.Request, sh *datanode.Shard) (int, any, error) {
	return http.StatusOK, map[string]any{"mode": s.node.Offline().Merge, "merges": sh.Merges()}, nil
}

func (s *server) merge(r *http.Request, sh *datanode.Shard) (int, any, error) {
	if err := decode(r, &struct{}{}); err != nil { // all is in the parameters
		return 0, nil, err
	}
	expunge, err := flag(r, "expunge")
	if err != nil {
		return 0, nil, err
	}
	segments, err := number(r, "max_segments", 0)
	if err != nil {
		return 0, nil, err
	}
	var planned []datanode.Merge
	switch {
	case expunge && segments != 0:
		err = fmt.Errorf("%w: max_segments and expunge exclude each other", datanode.ErrInvalid)
	case expunge:
		planned, err = sh.Expunge(r.Context())
	case r.URL.Query().Has("max_segments"):
		planned, err = sh.ForceMerge(r.Context(), segments)
	default:
		planned, err = sh.PlanMerges(r.Context())
	}
	if planned == nil {
		planned = []datanode.Merge{}
	}
	return http.StatusOK, map[string]any{"planned": planned}, err
}

// flag reads a parameter that is true or false; without a value it is true.
func flag(r *http.Request, name string) (bool, error) {
	if !r.URL.Query().Has(name) {
		return false, nil
	}
	text := r.URL.Query().Get(name)
	if text == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%w: %s is %q: use true or false", datanode.ErrInvalid, name, text)
	}
	return on, nil
}

func number(r *http.Request, name string, otherwise int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %q: use a number", datanode.ErrInvalid, name, text)
	}
	return n, nil
}
