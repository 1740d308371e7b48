package dataapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotegc"
)

func TestGarbageCollectionIsSubmitted(t *testing.T) {
	t.Parallel()
	var asked []remotegc.Params
	var fails error
	h := New(Config{Garbage: func(_ context.Context, p remotegc.Params) (string, error) {
		asked = append(asked, p)
		return "gc-1", fails
	}})
	post := func(body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/gc", strings.NewReader(body)))
		return w
	}
	w := post("")
	require.Equal(t, http.StatusAccepted, w.Code)
	require.JSONEq(t, `{"task":"gc-1"}`, w.Body.String())
	require.Equal(t, http.StatusAccepted, post(`{"folder":"books/","dry_run":true}`).Code)
	require.Equal(t, []remotegc.Params{{}, {Folder: "books/", DryRun: true}}, asked)
	for _, bad := range []string{`{"folder":"books"}`, `{"shards":["../x"]}`, `{"shard":"x"}`, `[]`} {
		require.Equal(t, http.StatusBadRequest, post(bad).Code, bad)
	}
	fails = errors.New("kafka is away")
	require.Equal(t, http.StatusServiceUnavailable, post("").Code)
	require.Len(t, asked, 3)

	w = httptest.NewRecorder()
	New(Config{}).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/gc", nil))
	require.Equal(t, http.StatusNotFound, w.Code, "there is no fleet to ask")
}
