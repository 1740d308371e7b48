package testkit

import (
	"context"
	"fmt"
	"io"
	"log" //nolint:depguard // net/http wants one of these to be silent
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// Bucket is a bucket of an S3 server and what opens it. Requests name the bucket in the path, not in the host.
type Bucket struct {
	Endpoint             string // http://host:port
	Region               string
	AccessKey, SecretKey string
	Name                 string
}

// S3 returns a new bucket, empty, on an S3 server that tests share. It is removed with what is in it when the test ends.
func S3(t testing.TB) Bucket {
	t.Helper()
	bucket, err := parseEndpoint(shared(t, servers.S3))
	if err != nil {
		t.Fatal(err)
	}
	bucket.Name = strings.ToLower(Name(t))
	client := bucket.client()
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket.Name}); err != nil {
		t.Fatalf("create bucket %s on %s: %v", bucket.Name, bucket.Endpoint, err)
	}
	t.Cleanup(func() {
		if err := bucket.remove(context.WithoutCancel(t.Context()), client); err != nil {
			t.Logf("bucket %s stays: %v", bucket.Name, err)
		}
	})
	return bucket
}

// Through is the bucket as seen over a faulty line: fault gets every request, passes it on to the server or not, and
// answers or not (panic(http.ErrAbortHandler) drops the connection).
func (b Bucket) Through(t testing.TB, fault func(w http.ResponseWriter, r *http.Request, server http.Handler)) Bucket {
	t.Helper()
	target, err := url.Parse(b.Endpoint)
	if err != nil {
		t.Fatalf("address of the S3 server: %v", err)
	}
	proxy := &httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // what breaks here is broken on purpose
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault(w, r, proxy) }))
	server.Config.ErrorLog = proxy.ErrorLog
	server.Start()
	t.Cleanup(server.Close)
	b.Endpoint = server.URL
	return b
}

// Client opens the server for what only a test asks of it.
func (b Bucket) Client() *s3.Client { return b.client() }

func parseEndpoint(value string) (Bucket, error) {
	endpoint, err := url.Parse(value)
	if err != nil || endpoint.Host == "" || endpoint.User == nil {
		return Bucket{}, fmt.Errorf("%s is not http://access:secret@host:port", servers.EnvS3)
	}
	secret, _ := endpoint.User.Password()
	return Bucket{
		Endpoint: endpoint.Scheme + "://" + endpoint.Host, Region: servers.S3Region,
		AccessKey: endpoint.User.Username(), SecretKey: secret,
	}, nil
}

func (b Bucket) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &b.Endpoint, Region: b.Region, UsePathStyle: true,
		// Kept connections would be goroutines left over when the package's tests end.
		HTTPClient:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Credentials: credentials.NewStaticCredentialsProvider(b.AccessKey, b.SecretKey, ""),
	})
}

func (b Bucket) remove(ctx context.Context, client *s3.Client) error {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &b.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if len(page.Contents) == 0 {
			break
		}
		keys := make([]types.ObjectIdentifier, len(page.Contents))
		for i, object := range page.Contents {
			keys[i] = types.ObjectIdentifier{Key: object.Key}
		}
		if _, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &b.Name, Delete: &types.Delete{Objects: keys, Quiet: aws.Bool(true)},
		}); err != nil {
			return fmt.Errorf("delete objects: %w", err)
		}
	}
	if _, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &b.Name}); err != nil {
		return fmt.Errorf("delete bucket: %w", err)
	}
	return nil
}
