package remotestore

import (
	"bytes"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestS3(t *testing.T) {
	t.Parallel()
	testContract(t, func(t *testing.T) Store { t.Helper(); return openBucket(t, testkit.S3(t)) })
}

func TestS3LostAnswers(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)
	direct := openBucket(t, bucket)

	for _, large := range []int{16, partBytes + 1} {
		body := bytes.Repeat([]byte("m"), large)
		t.Run("a create that was applied but not answered has won", func(t *testing.T) {
			store := openBucket(t, through(t, bucket, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Header.Get("If-None-Match") == "" {
					pass.ServeHTTP(w, r)
					return
				}
				pass.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}))
			require.NoError(t, store.Create(t.Context(), "mine", body))
			require.Equal(t, string(body), get(t, direct, "mine", All))
			require.NoError(t, direct.Delete(t.Context(), "mine"))
		})
	}

	t.Run("a create that lost and got no answer has lost", func(t *testing.T) {
		require.NoError(t, direct.Create(t.Context(), "taken", []byte("theirs")))
		store := openBucket(t, through(t, bucket, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if r.Header.Get("If-None-Match") != "" {
				panic(http.ErrAbortHandler)
			}
			pass.ServeHTTP(w, r)
		}))
		require.ErrorIs(t, store.Create(t.Context(), "taken", []byte("mine")), ErrExists)
	})

	t.Run("a create that cannot be looked into is unknown", func(t *testing.T) {
		store := openBucket(t, through(t, bucket, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			panic(http.ErrAbortHandler)
		}))
		require.ErrorIs(t, store.Create(t.Context(), "free", []byte("mine")), ErrUnknown)
		require.NoError(t, direct.Create(t.Context(), "free", []byte("mine")), "asking again finds out")
	})

	t.Run("a conflict is asked again", func(t *testing.T) {
		var conflicts atomic.Int32
		store := openBucket(t, through(t, bucket, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if r.Header.Get("If-None-Match") != "" && conflicts.Add(1) < 3 {
				w.WriteHeader(http.StatusConflict)
				_, _ = w.Write([]byte("<Error><Code>ConditionalRequestConflict</Code></Error>"))
				return
			}
			pass.ServeHTTP(w, r)
		}))
		require.NoError(t, store.Create(t.Context(), "conflict", []byte("mine")))
		require.EqualValues(t, 3, conflicts.Load())
	})
}

func TestS3BrokenBodies(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)
	direct := openBucket(t, bucket)
	body := make([]byte, 3*partBytes+5)
	_, _ = rand.Read(body)
	require.NoError(t, direct.Put(t.Context(), "large", body))

	// Every answer with a body breaks off after half of what was asked.
	var broken atomic.Int32
	store := openBucket(t, through(t, bucket, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		rec := httptest.NewRecorder()
		pass.ServeHTTP(rec, r)
		answer := rec.Body.Bytes()
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		if r.Method != http.MethodGet || len(answer) < 1000 {
			_, _ = w.Write(answer)
			return
		}
		broken.Add(1)
		_, _ = w.Write(answer[:len(answer)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, store.GetFile(t.Context(), "large", local))
	got, err := os.ReadFile(local)
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
	require.Equal(t, string(body[7:2_000_007]), get(t, store, "large", Range{7, 2_000_000}))
	require.Positive(t, broken.Load())
}

func TestS3TellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	bucket := testkit.S3(t)

	wrong := bucket
	wrong.Name += "-none"
	_, err := openBucket(t, wrong).Get(t.Context(), "k", All)
	require.ErrorContains(t, err, "does not exist")
	require.NotErrorIs(t, err, ErrNotFound, "a missing bucket is no missing object")

	wrong = bucket
	wrong.SecretKey = "wrong"
	err = openBucket(t, wrong).Create(t.Context(), "k", []byte("x"))
	require.ErrorContains(t, err, "SignatureDoesNotMatch")
	require.NotErrorIs(t, err, ErrUnknown, "it was refused")
}

func TestS3Sweep(t *testing.T) {
	t.Parallel()
	store := openBucket(t, testkit.S3(t))
	_, err := store.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &store.bucket, Key: store.key("left")})
	require.NoError(t, err)
	for o, err := range store.Unfinished(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "left", o.Key)
		require.WithinDuration(t, time.Now(), o.Modified, time.Minute)
	}
	removed, err := store.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, removed, "its writer may be alive")
	removed, err = store.Sweep(t.Context(), -time.Minute)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
}

func openBucket(t *testing.T, b testkit.Bucket) *S3 {
	t.Helper()
	query := url.Values{"endpoint": {b.Endpoint}, "region": {b.Region}}
	store, err := Open(t.Context(), Config{
		URL: "s3://" + b.Name + "/some/prefix?" + query.Encode(), AccessKey: b.AccessKey, SecretKey: Secret(b.SecretKey),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.(*S3).Close()) })
	return store.(*S3)
}

// through puts a faulty line between a store and its server.
func through(t *testing.T, b testkit.Bucket, fault func(http.ResponseWriter, *http.Request, http.Handler)) testkit.Bucket {
	t.Helper()
	target, err := url.Parse(b.Endpoint)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault(w, r, proxy) }))
	t.Cleanup(server.Close)
	b.Endpoint = server.URL
	return b
}
