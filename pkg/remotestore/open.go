package remotestore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Secret is a string that does not show in logs, errors or JSON.
type Secret string

const hidden = "[secret]"

// String implements [fmt.Stringer].
func (Secret) String() string { return hidden }

// GoString implements [fmt.GoStringer].
func (Secret) GoString() string { return hidden }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements [encoding.TextMarshaler], which JSON heeds.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Config says which store to open.
type Config struct {
	// URL names the store:
	//
	//	file:///var/lib/shards                         a folder, made if it is missing
	//	s3://bucket/prefix?region=eu-west-1            S3
	//	s3://bucket?endpoint=http://127.0.0.1:9000     a server that speaks the S3 protocol
	//	mem://                                         memory, a new and empty store
	//
	// For s3, endpoint, region, and path_style (true or false; true is the default with an endpoint) may be given.
	// It holds no secrets.
	URL string

	// AccessKey and SecretKey are static credentials for s3, SessionToken goes with temporary ones. When empty, the
	// default chain of the AWS SDK is asked: environment, shared files, web identity, container and instance roles.
	AccessKey    string
	SecretKey    Secret
	SessionToken Secret

	// CAFile is a PEM file of certificate authorities that are trusted besides those of the system; empty for none.
	CAFile string
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return errors.New("store URL cannot be read") // its text may hold a secret
	}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u.User != nil {
		fail("store URL must not hold credentials: set access key and secret key beside it")
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		fail("access key and secret key of the store go together: one is missing")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			fail("store URL %q: a folder is given as file:///absolute/path", u.Redacted())
		}
	case "mem":
		if u.Host != "" || u.Path != "" {
			fail("store URL %q: memory is given as mem://", u.Redacted())
		}
	case "s3":
		errs = append(errs, validateS3(u)...)
	default:
		fail("store URL %q: scheme %q is not one of file, s3, mem", u.Redacted(), u.Scheme)
	}
	if u.Scheme != "s3" && len(u.Query()) > 0 {
		fail("store URL %q: %s takes no parameters", u.Redacted(), u.Scheme)
	}
	return errors.Join(errs...)
}

func validateS3(u *url.URL) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if u.Host == "" {
		fail("store URL %q: the bucket is missing (s3://bucket/prefix)", u.Redacted())
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if err := CheckKey(prefix); err != nil {
			errs = append(errs, err)
		}
	}
	for name, values := range u.Query() {
		if !slices.Contains([]string{"endpoint", "region", "path_style"}, name) {
			fail("store URL: parameter %q is not one of endpoint, region, path_style", name)
		}
		if len(values) > 1 {
			fail("store URL: parameter %q is given twice", name)
		}
	}
	if v := u.Query().Get("path_style"); v != "" {
		if _, err := strconv.ParseBool(v); err != nil {
			fail("store URL: path_style is %q, not true or false", v)
		}
	}
	if v := u.Query().Get("endpoint"); v != "" {
		e, err := url.Parse(v)
		if err != nil || (e.Scheme != "http" && e.Scheme != "https") || e.Host == "" || e.User != nil {
			fail("store URL: the endpoint must look like https://host:port")
		}
	}
	return errs
}

// Open returns the store that c names. It does not talk to it: SelfTest does. Stores that are an [io.Closer] can be
// closed once nothing uses them any more.
func Open(ctx context.Context, c Config) (Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "file":
		return NewFilesystem(filepath.FromSlash(u.Path))
	case "mem":
		return NewMemory(), nil
	}
	return openS3(ctx, c, u)
}

var _, _ io.Closer = (*S3)(nil), (*Filesystem)(nil)

func openS3(ctx context.Context, c Config, u *url.URL) (*S3, error) {
	base, err := baseClient(c.CAFile)
	if err != nil {
		return nil, err
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(base)}
	if c.AccessKey != "" {
		static := credentials.NewStaticCredentialsProvider(c.AccessKey, string(c.SecretKey), string(c.SessionToken))
		options = append(options, config.WithCredentialsProvider(static))
	}
	if region := u.Query().Get("region"); region != "" {
		options = append(options, config.WithRegion(region))
	}
	settings, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	endpoint := u.Query().Get("endpoint")
	if settings.Region == "" {
		if endpoint == "" {
			return nil, errors.New("open store: no region: give it as s3://bucket?region=…")
		}
		settings.Region = "us-east-1"
	}
	s := &S3{bucket: u.Host, http: storeClient(settings)}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		s.prefix = prefix + "/"
	}
	s.client = s3.NewFromConfig(settings, func(o *s3.Options) {
		o.HTTPClient = s.http
		o.UsePathStyle = endpoint != ""
		if v, err := strconv.ParseBool(u.Query().Get("path_style")); err == nil {
			o.UsePathStyle = v
		}
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
		// Bodies are signed with their SHA-256 and compared with one by their readers: the newer checksum headers add
		// nothing, and older servers refuse them.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return s, nil
}

// baseClient carries what all connections share: also those that the credential chain opens.
func baseClient(caFile string) (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient()
	if caFile == "" {
		return client, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("open store: certificate authorities: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("open store: %s holds no certificate in PEM form", caFile)
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}), nil
}

// storeClient returns the client of one store, whose connections can be closed with it.
func storeClient(settings aws.Config) *http.Client {
	base, ok := settings.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		base = awshttp.NewBuildableClient()
	}
	transport := base.GetTransport()
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = 2 * time.Minute
	return &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		code := r.Response.StatusCode
		keepsMethod := code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect
		if keepsMethod && len(via) < 10 {
			return nil
		}
		return http.ErrUseLastResponse
	}}
}
