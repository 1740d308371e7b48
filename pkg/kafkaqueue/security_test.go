package kafkaqueue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// certificate signs itself, for clients and servers alike.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func ping(t *testing.T, cfg Config) error {
	t.Helper()
	a, err := OpenAdmin(cfg)
	require.NoError(t, err)
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return a.Ping(ctx)
}

func TestMutualTLS(t *testing.T) {
	own, pool := certificate(t)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}))
	require.NoError(t, err)
	defer kafka.Close()
	cfg := Config{Brokers: kafka.ListenAddrs(), TLS: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}}
	require.NoError(t, ping(t, cfg))
	a, err := OpenAdmin(cfg)
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, a.Ensure(t.Context(), []string{"merge"}))
	cfg.TLS = &tls.Config{RootCAs: pool}
	require.Error(t, ping(t, cfg), "without a certificate")
	cfg.TLS = nil
	require.Error(t, ping(t, cfg), "without TLS")
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{saslPlain, saslScram256, saslScram512} {
		t.Run(mechanism, func(t *testing.T) {
			kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "worker", "s3cr3t"))
			require.NoError(t, err)
			defer kafka.Close()
			var log strings.Builder
			cfg := Config{Brokers: kafka.ListenAddrs(), SASL: SASL{mechanism, "worker", "s3cr3t"}, Log: slog.New(slog.NewTextHandler(&log, nil))}
			require.NoError(t, ping(t, cfg))
			cfg.SASL.Password = "wr0ng"
			err = ping(t, cfg)
			require.ErrorContains(t, err, "worker")
			require.ErrorContains(t, err, "password")
			p, perr := NewProducer(cfg)
			require.NoError(t, perr)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			errs := p.Submit(ctx, []task.Delivery{{Envelope: task.Envelope{ID: "a", Type: "merge"}}})
			require.Error(t, errs[0])
			_ = p.Close(ctx)
			for _, text := range []string{err.Error(), errs[0].Error(), log.String()} {
				require.NotContains(t, text, "wr0ng")
				require.NotContains(t, text, "s3cr3t")
			}
			cfg.SASL = SASL{}
			require.Error(t, ping(t, cfg), "without SASL")
		})
	}
}

// Some brokers only hang up on a wrong password.
func TestAHangUpIsExplained(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 64)
			_, _ = c.Read(buffer)
			_ = c.Close()
		}
	}()
	err = ping(t, Config{Brokers: []string{listener.Addr().String()}, SASL: SASL{saslPlain, "worker", "s3cr3t"}})
	require.ErrorContains(t, err, `password of user "worker"`)
	require.NotContains(t, fmt.Sprint(err), "s3cr3t")
}
