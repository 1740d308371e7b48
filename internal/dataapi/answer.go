package dataapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/settings"
)

// failure is the body of an answer that is an error.
type failure struct {
	Error problem `json:"error"`
}

// problem says what is wrong, for programs and for people.
type problem struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // the client went away
}

// refuse answers with an error's meaning.
func refuse(w http.ResponseWriter, err error) {
	status, kind := verdict(err)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	answer(w, status, failure{problem{kind, err.Error()}})
}

func verdict(err error) (status int, kind string) {
	if status, kind = snapshotVerdict(err); status != 0 {
		return status, kind
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return http.StatusRequestEntityTooLarge, "too_large"
	case errors.Is(err, datanode.ErrInvalid), errors.Is(err, datanode.ErrDocument),
		errors.Is(err, settings.ErrUnknownKey), errors.Is(err, settings.ErrValue):
		return http.StatusBadRequest, "bad_request"
	case errors.Is(err, datanode.ErrNoShard), errors.Is(err, datanode.ErrNotFound):
		return http.StatusNotFound, "not_found"
	case errors.Is(err, datanode.ErrConflict), errors.Is(err, datanode.ErrNotWriter):
		return http.StatusConflict, "conflict"
	case errors.Is(err, datanode.ErrBusy):
		return http.StatusTooManyRequests, "busy"
	case errors.Is(err, datanode.ErrUnknown), errors.Is(err, kafkaqueue.ErrUnknown):
		return http.StatusServiceUnavailable, "outcome_unknown"
	case errors.Is(err, datanode.ErrNoQueue):
		return http.StatusServiceUnavailable, "queue_unavailable"
	case errors.Is(err, datanode.ErrClosed):
		return http.StatusServiceUnavailable, "closed"
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "timeout"
	default:
		return http.StatusServiceUnavailable, "store_unavailable"
	}
}
