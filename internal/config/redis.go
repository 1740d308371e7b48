package config

import (
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
)

// Config is what the claims are opened with; Log is left to the caller. It
// reads the files that the section names.
func (r Redis) Config() (claims.Config, error) {
	secure, err := r.TLS.Config()
	if err != nil {
		return claims.Config{}, fmt.Errorf("redis.tls: %w", err)
	}
	return claims.Config{
		Addrs:            r.Addrs,
		MasterName:       r.MasterName,
		Cluster:          r.Cluster,
		Username:         r.Username,
		Password:         r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername,
		SentinelPassword: r.SentinelPassword.Reveal(),
		DB:               r.DB,
		TLS:              secure,
		Prefix:           r.Prefix,
		Lease:            r.Lease,
		Beat:             r.Beat,
		Trust:            r.Trust,
		Retention:        r.Retention,
		MaxLost:          r.MaxLost,
	}, nil
}
