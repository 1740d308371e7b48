package admin

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

func newHandler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	mux.Handle("GET /healthz", answer(newProbes(cfg.Live)))
	mux.Handle("GET /readyz", answer(newProbes(cfg.Ready)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "/metrics\n/healthz\n/readyz\n")
	})
	return guard(cfg.Listen, cfg.Hosts, mux)
}

// status is the body of /healthz and /readyz.
type status struct {
	OK     bool              `json:"ok"`
	Checks map[string]string `json:"checks,omitempty"` // "ok", or what is wrong
}

func answer(probes []*probe) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := ask(r.Context(), probes)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !s.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(s) // the client went away
	})
}

// guard lets in whoever asks for an address or for a name that is allowed. A
// page of another site can make a browser come here under its own name, with
// the name's address changed to ours; it cannot make it send another name.
func guard(listen string, hosts []string, inner http.Handler) http.Handler {
	host, _, _ := net.SplitHostPort(listen)
	names := append([]string{"localhost", host}, hosts...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allowed(r.Host, names) {
			http.Error(w, "this name is not in admin.hosts", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		inner.ServeHTTP(w, r)
	})
}

func allowed(asked string, names []string) bool {
	host := asked
	if h, _, err := net.SplitHostPort(asked); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return net.ParseIP(host) != nil || slices.Contains(names, "*") ||
		slices.ContainsFunc(names, func(name string) bool { return name != "" && strings.EqualFold(name, host) })
}
