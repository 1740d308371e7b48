package remotestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

const (
	// createAttempts bounds how often a create is sent again after "409, another conditional request is under way".
	createAttempts = 5

	// readBackTimeout bounds the look at a key whose create got no answer; it has its own time, as the caller's may
	// be what ended the request.
	readBackTimeout = 15 * time.Second
)

// resolve finds out what became of a create that returned failure. A retried request that had been applied comes back
// as 412, and one whose answer was lost as a broken connection: in either case the object itself tells. It is not
// settled when the store asks for another attempt.
func (s *S3) resolve(ctx context.Context, key string, body []byte, failure error) (settled bool, verdict error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackTimeout)
	defer cancel()
	held, err := s.Get(ctx, key, Range{Bytes: int64(len(body)) + 1})
	switch {
	case err == nil && bytes.Equal(held, body):
		return true, nil
	case err == nil:
		return true, ErrExists
	case refused(failure):
		return true, s.explain(failure)
	case status(failure) == http.StatusConflict && errors.Is(err, ErrNotFound):
		return false, unknown(failure)
	}
	return true, unknown(failure)
}

func unknown(failure error) error { return fmt.Errorf("%w: %w", ErrUnknown, failure) }

// refused tells whether the store answered that it did not and will not apply the request.
func refused(err error) bool {
	switch code := status(err); code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusPreconditionFailed, http.StatusTooManyRequests:
		return false
	case http.StatusNotFound: // NoSuchUpload is also what a repeated completion that had been applied gets
		return apiCode(err) == "NoSuchBucket"
	default:
		return code >= 400 && code < 500
	}
}

// explain turns what the SDK returns into the errors of this package where callers tell them apart.
func (s *S3) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case apiCode(err) == "NoSuchBucket":
		return fmt.Errorf("bucket %q does not exist: %w", s.bucket, err)
	case status(err) == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

func status(err error) int {
	if re, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return re.HTTPStatusCode()
	}
	return 0
}

func apiCode(err error) string {
	if ae, ok := errors.AsType[smithy.APIError](err); ok {
		return ae.ErrorCode()
	}
	return ""
}
