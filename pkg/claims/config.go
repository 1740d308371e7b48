package claims

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Config opens a [Store].
type Config struct {
	// Addrs is one server's host:port, or several: the nodes of a Cluster
	// (with Cluster), or the Sentinels (with MasterName).
	Addrs      []string
	MasterName string // the name under which the Sentinels know the master
	Cluster    bool

	Username         string
	Password         string
	SentinelUsername string
	SentinelPassword string
	DB               int // not on Cluster
	TLS              *tls.Config
	// Dialer replaces the dialing of TCP; TLS is then the dialer's own matter.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

	// Prefix starts every key and channel; default "offline:". No braces.
	Prefix string
	// Lease is how long a claim lasts unless it is renewed; default 15 s.
	Lease time.Duration
	// Beat is the time between renewals; default 5 s, at most a third of Lease.
	Beat time.Duration
	// Trust is how long after asking a holder may believe in its claim
	// unasked; default 10 s, shorter than Lease.
	Trust time.Duration
	// Retention is how long a terminal state is kept; default 24 h.
	Retention time.Duration
	// MaxLost is how many claims of a task may vanish with their holder: the
	// next one is not granted but settles it as worker_lost. Default 3.
	MaxLost int
	// Log is told what heals by itself; default none.
	Log *slog.Logger
}

// Defaults of [Config].
const (
	DefaultPrefix    = "offline:"
	DefaultLease     = 15 * time.Second
	DefaultBeat      = 5 * time.Second
	DefaultTrust     = 10 * time.Second
	DefaultRetention = 24 * time.Hour
	DefaultMaxLost   = 3
)

// Validate reports every mistake at once. Zero values stand for defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.Addrs) == 0 && c.Dialer == nil, "redis addrs: none given")
	bad(c.Cluster && c.MasterName != "", "redis: Cluster and Sentinel (master name %q) exclude each other", c.MasterName)
	bad(c.Cluster && c.DB != 0, "redis db %d: a Cluster has only 0", c.DB)
	bad(!c.Cluster && c.MasterName == "" && len(c.Addrs) > 1, "redis addrs: %d given: set cluster or a master name", len(c.Addrs))
	bad(c.DB < 0, "redis db %d: must not be negative", c.DB)
	bad(strings.ContainsAny(c.Prefix, "{}"), "redis prefix %q: braces choose the slot, leave them out", c.Prefix)
	bad(c.Beat < 10*time.Millisecond, "beat %v: at least 10ms", c.Beat)
	bad(c.Lease < 3*c.Beat, "lease %v: at least three beats of %v", c.Lease, c.Beat)
	bad(c.Lease > maxLease, "lease %v: at most %v", c.Lease, maxLease)
	bad(c.Trust <= 0 || c.Trust >= c.Lease, "trust window %v: more than 0 and less than the lease of %v", c.Trust, c.Lease)
	bad(c.Retention < time.Minute, "retention %v: at least 1m", c.Retention)
	bad(c.MaxLost < 1 || c.MaxLost > maxLost, "max lost %d: 1 to %d", c.MaxLost, maxLost)
	return errors.Join(errs...)
}

const (
	maxLease = time.Hour
	maxLost  = 90 // the state counts with two digits
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Lease, DefaultLease)
	set(&c.Beat, DefaultBeat)
	set(&c.Trust, DefaultTrust)
	set(&c.Retention, DefaultRetention)
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.MaxLost == 0 {
		c.MaxLost = DefaultMaxLost
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// String leaves out the passwords; so do %v and %+v.
func (c Config) String() string {
	return fmt.Sprintf("redis %s db %d prefix %s lease %v beat %v", strings.Join(c.Addrs, ","), c.DB, c.Prefix, c.Lease, c.Beat)
}

// GoString leaves out the passwords: %#v.
func (c Config) GoString() string { return c.String() }

// LogValue leaves out the passwords.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
