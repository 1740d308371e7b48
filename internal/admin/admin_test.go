package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/internal/admin"
	"github.com/offline-nodes/offline-nodes/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a server and returns its address and what ends it.
func run(t testing.TB, cfg admin.Config) (addr string, stop func() error) {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	server, err := admin.Listen(t.Context(), cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(cancel)
	return server.Addr(), func() error {
		cancel()
		return <-ended
	}
}

// get asks under a host name and returns status and body.
func get(t testing.TB, addr, path, host string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	require.NoError(t, err)
	request.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func check(name string, err error) admin.Check {
	return admin.Check{Name: name, Func: func(context.Context) error { return err }}
}

func TestHealthAndReadiness(t *testing.T) {
	addr, stop := run(t, admin.Config{
		Live:  []admin.Check{check("node", nil)},
		Ready: []admin.Check{check("node", nil), check("kafka", errors.New("no broker answers"))},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "offline_node_claims_total 1\n")
		}),
	})
	code, body := get(t, addr, "/healthz", "")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"ok": true, "checks": {"node": "ok"}}`, body)

	code, body = get(t, addr, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"ok": false, "checks": {"node": "ok", "kafka": "no broker answers"}}`, body)

	code, body = get(t, addr, "/metrics", "")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "offline_node_claims_total 1\n", body)

	code, body = get(t, addr, "/", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "/readyz")

	code, _ = get(t, addr, "/debug/pprof/", "")
	require.Equal(t, http.StatusNotFound, code)
	require.NoError(t, stop())
}

func TestOnlyReading(t *testing.T) {
	addr, stop := run(t, admin.Config{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/healthz", nil)
	require.NoError(t, err)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	code, _ := get(t, addr, "/metrics", "")
	require.Equal(t, http.StatusNotFound, code, "no handler, no metrics")
	require.NoError(t, stop())
}

func TestNamesThatAreNotAllowedAreRefused(t *testing.T) {
	addr, stop := run(t, admin.Config{Admin: config.Admin{Hosts: []string{"node-a.internal"}}})
	for host, want := range map[string]int{
		"":                     http.StatusOK, // the address itself
		"localhost":            http.StatusOK,
		"LOCALHOST:9464":       http.StatusOK,
		"10.1.2.3:9464":        http.StatusOK,
		"[::1]:9464":           http.StatusOK,
		"node-a.internal:9464": http.StatusOK,
		"rebound.example":      http.StatusMisdirectedRequest,
		"localhost.example":    http.StatusMisdirectedRequest,
		"127.0.0.1.example":    http.StatusMisdirectedRequest,
	} {
		code, _ := get(t, addr, "/healthz", host)
		require.Equal(t, want, code, host)
	}
	require.NoError(t, stop())

	addr, stop = run(t, admin.Config{Admin: config.Admin{Hosts: []string{"*"}}})
	code, _ := get(t, addr, "/healthz", "any.example")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, stop())
}

func TestACheckThatHangsFailsAndIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		release := make(chan struct{})
		hangs := admin.Check{Name: "hangs", Func: func(context.Context) error {
			started.Add(1)
			<-release
			return nil
		}}
		handler := admin.NewHandler(admin.Config{Ready: []admin.Check{hangs, check("well", nil)}})
		for range 3 {
			began := time.Now()
			code, body := serve(t, handler, "/readyz")
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.JSONEq(t, `{"ok": false, "checks": {"hangs": "does not answer", "well": "ok"}}`, body)
			require.Equal(t, admin.MaxCheck, time.Since(began))
		}
		require.EqualValues(t, 1, started.Load())

		close(release)
		synctest.Wait()
		code, _ := serve(t, handler, "/readyz")
		require.Equal(t, http.StatusOK, code)
		require.EqualValues(t, 2, started.Load())
	})
}

func TestStopLetsRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "whole")
	})
	addr, stop := run(t, admin.Config{Metrics: slow})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool { // the port is closed, the request still under way
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond)
	close(release)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(answer), "whole"))
	require.NoError(t, <-stopped)
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	addr, stop := run(t, admin.Config{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", make([]byte, 64<<10))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "431")
	require.NoError(t, stop())
}

func TestAPortThatIsTakenIsToldAtOnce(t *testing.T) {
	server, err := admin.Listen(t.Context(), admin.Config{Admin: config.Admin{Listen: "127.0.0.1:0"}})
	require.NoError(t, err)
	_, err = admin.Listen(t.Context(), admin.Config{Admin: config.Admin{Listen: server.Addr()}})
	require.ErrorContains(t, err, "admin server")
	require.NoError(t, server.Close())
	require.Error(t, server.Run(t.Context()), "its port is closed")
}

func TestAContextThatHasEndedStopsItAtOnce(t *testing.T) {
	server, err := admin.Listen(t.Context(), admin.Config{Admin: config.Admin{Listen: "127.0.0.1:0"}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, server.Run(ctx))
}
