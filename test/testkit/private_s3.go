package testkit

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// StartS3 starts an S3 server like that of [S3], for this test alone, and returns it with a new bucket.
func StartS3(t testing.TB) (*Server, Bucket) {
	t.Helper()
	server, err := servers.StartS3(t.Context(), privateOptions(t), t.TempDir())
	owned := own(t, server, err)
	endpoint, err := url.Parse(server.Addr)
	if err != nil {
		t.Fatalf("address of %s: %v", server, err)
	}
	endpoint.User = url.UserPassword(servers.S3AccessKey, servers.S3SecretKey)
	bucket, err := parseEndpoint(endpoint.String())
	if err != nil {
		t.Fatal(err)
	}
	bucket.Name = strings.ToLower(Name(t))
	if _, err := bucket.client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket.Name}); err != nil {
		t.Fatalf("create bucket %s on %s: %v", bucket.Name, bucket.Endpoint, err)
	}
	return owned, bucket
}
