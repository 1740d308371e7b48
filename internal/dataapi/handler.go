package dataapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// Limits of requests.
const (
	MaxBulkBytes  = 64 << 20
	MaxBodyBytes  = 1 << 20  // of everything else but documents
	MaxDocBytes   = 16 << 20 // of one document by itself
	Timeout       = time.Minute
	parallelBulks = 16 // that are read at a time
)

// Config of [New].
type Config struct {
	Node *datanode.Node

	// Settings are the dynamic settings in effect here. Stored is where they are kept for all processes; nil: nowhere.
	Settings *settings.Values
	Stored   StoredSettings

	// Snapshots are in the store and the repository; the zero value refuses requests about them.
	Snapshots Snapshots

	// Garbage submits a garbage collection of the store and returns its task; nil: 404.
	Garbage func(ctx context.Context, p remotegc.Params) (task string, err error)

	// Hosts are names under which it may be asked, besides addresses and localhost; "*" for any.
	Hosts []string

	Metrics http.Handler                // answers /metrics; nil: 404
	Ready   func(context.Context) error // nil: always ready
}

// New returns the handler of the whole surface. It is safe for concurrent use.
func New(cfg Config) http.Handler {
	s := &server{node: cfg.Node, values: cfg.Settings, stored: cfg.Stored, ready: cfg.Ready, reading: make(chan struct{}, parallelBulks)}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(r *http.Request) (int, any, error), parameters ...string) {
		mux.Handle(pattern, endpoint(known(h, parameters)))
	}
	handle("GET /shards", s.list)
	handle("PUT /shards/{name}", s.create)
	handle("DELETE /shards/{name}", s.drop, "purge")
	handle("POST /shards/{name}/_bulk", onShard(s, s.bulk), "refresh")
	handle("PUT /shards/{name}/docs/{id}", onShard(s, s.put), "refresh")
	handle("GET /shards/{name}/docs/{id}", onShard(s, s.get))
	handle("DELETE /shards/{name}/docs/{id}", onShard(s, s.remove), "refresh")
	handle("GET /shards/{name}/_search", onShard(s, s.search), searchParameters...)
	handle("POST /shards/{name}/_search", onShard(s, s.search), searchParameters...)
	handle("POST /shards/{name}/_refresh", onShard(s, s.refresh))
	handle("GET /shards/{name}/_stats", onShard(s, s.stats))
	handle("GET /shards/{name}/_merges", onShard(s, s.merges))
	handle("POST /shards/{name}/_merge", onShard(s, s.merge), "max_segments", "expunge")
	handle("POST /shards/{name}/reindex", onShard(s, s.reindex))
	handle("GET /settings", s.settings)
	handle("PUT /settings", s.change, "here")
	handle("GET /settings/_history", s.history, "key")
	(&keeper{cfg.Snapshots, cfg.Node}).handle(handle)
	if cfg.Garbage != nil {
		handle("POST /gc", collect(cfg.Garbage))
	}
	handle("GET /healthz", func(*http.Request) (int, any, error) { return http.StatusOK, map[string]bool{"ok": true}, nil })
	handle("GET /readyz", s.readiness)
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, failure{problem{"not_found", fmt.Sprintf("nothing answers %s %s here", r.Method, r.URL.Path)}})
	})
	return guard(cfg.Hosts, http.NewCrossOriginProtection().Handler(mux))
}

type server struct {
	node    *datanode.Node
	values  *settings.Values
	stored  StoredSettings // or nil
	ready   func(context.Context) error
	reading chan struct{}
}

// endpoint answers with what h returns, within the time limit.
func endpoint(h func(r *http.Request) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), Timeout)
		defer cancel()
		status, body, err := h(r.WithContext(ctx))
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, status, body)
	})
}

// known refuses parameters that nobody would look at: a misspelled one must not be passed over.
func known(h func(r *http.Request) (int, any, error), parameters []string) func(r *http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) {
		for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
			switch {
			case slices.Contains(parameters, name):
			case len(parameters) == 0:
				return 0, nil, fmt.Errorf("%w: parameter %.80q: there is none here", datanode.ErrInvalid, name)
			default:
				return 0, nil, fmt.Errorf("%w: parameter %.80q: there are %s", datanode.ErrInvalid, name, strings.Join(parameters, ", "))
			}
		}
		return h(r)
	}
}

// onShard looks up the shard that the path names.
func onShard(s *server, h func(r *http.Request, sh *datanode.Shard) (int, any, error)) func(*http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) {
		sh, err := s.node.Shard(r.PathValue("name"))
		if err != nil {
			return 0, nil, err
		}
		return h(r, sh)
	}
}

// guard lets in whoever asks for an address or a name that is allowed: a page of another site can make a browser come
// here under its own name.
func guard(hosts []string, inner http.Handler) http.Handler {
	names := append([]string{"localhost"}, hosts...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if net.ParseIP(strings.Trim(host, "[]")) == nil && !slices.Contains(names, "*") &&
			!slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.EqualFold(n, host) }) {
			answer(w, http.StatusMisdirectedRequest, failure{problem{"bad_request", "this host name is not in admin.hosts"}})
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func (s *server) readiness(r *http.Request) (int, any, error) {
	why := ""
	if s.ready != nil {
		if err := s.ready(r.Context()); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		return http.StatusServiceUnavailable, map[string]any{"ok": false, "reason": why}, nil
	}
	return http.StatusOK, map[string]bool{"ok": true}, nil
}

// body reads a whole body of at most max bytes.
func body(r *http.Request, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fmt.Errorf("the body has more than %d bytes: %w", limit, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body cannot be read: %w", datanode.ErrInvalid, err)
	}
	return raw, nil
}

// decode reads a JSON object into v; unknown fields are refused, an empty body is an empty object.
func decode(r *http.Request, v any) error {
	raw, err := body(r, MaxBodyBytes)
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: the body: %w", datanode.ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the body: more follows after the object", datanode.ErrInvalid)
	}
	return nil
}
