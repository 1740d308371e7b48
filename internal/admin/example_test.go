package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/offline-nodes/offline-nodes/internal/admin"
	"github.com/offline-nodes/offline-nodes/internal/config"
)

// serve asks a handler without a port.
func serve(t testing.TB, handler http.Handler, path string) (int, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
	handler.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := admin.Listen(ctx, admin.Config{
		Admin: config.Admin{Listen: "127.0.0.1:0"},
		Ready: []admin.Check{{Name: "node", Func: func(context.Context) error { return errors.New("draining") }}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()

	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Addr()+"/readyz", nil)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	fmt.Print(response.StatusCode, " ", string(body))

	cancel()
	fmt.Println(<-ended)
	// Output:
	// 503 {"ok":false,"checks":{"node":"draining"}}
	// <nil>
}
