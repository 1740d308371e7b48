package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
)

// writePair makes a certificate for 127.0.0.1 that signs itself.
func writePair(t testing.TB, name, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis.internal"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	require.NoError(t, os.WriteFile(certFile, certPEM, 0o600))
	require.NoError(t, os.WriteFile(keyFile, keyPEM, 0o600))
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	require.NoError(t, err)
	return pair
}

// greet accepts one client with a certificate and returns its name.
func greet(t testing.TB, server tls.Certificate, client *tls.Config) (string, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	defer listener.Close()

	type result struct {
		name string
		err  error
	}
	greeted := make(chan result, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			greeted <- result{err: err}
			return
		}
		defer conn.Close()
		secure := conn.(*tls.Conn)
		if err := secure.HandshakeContext(t.Context()); err != nil {
			greeted <- result{err: err}
			return
		}
		greeted <- result{name: secure.ConnectionState().PeerCertificates[0].Subject.CommonName}
	}()
	conn, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		<-greeted
		return "", err
	}
	defer conn.Close()
	r := <-greeted
	return r.name, r.err
}

func TestMutualTLSWithACertificateThatIsRenewed(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	server := writePair(t, "server", path("ca.pem"), path("server.key"))
	writePair(t, "first", path("client.pem"), path("client.key"))

	settings := load(t, config.Sources{Environ: []string{
		"OFFLINE_REDIS__TLS__ENABLED=true", "OFFLINE_REDIS__TLS__CA_FILE=" + path("ca.pem"),
		"OFFLINE_REDIS__TLS__CERT_FILE=" + path("client.pem"), "OFFLINE_REDIS__TLS__KEY_FILE=" + path("client.key"),
	}})
	redis, err := settings.Redis.Config()
	require.NoError(t, err)
	require.Equal(t, uint16(tls.VersionTLS12), redis.TLS.MinVersion)

	name, err := greet(t, server, redis.TLS)
	require.NoError(t, err)
	require.Equal(t, "first", name)

	writePair(t, "second", path("client.pem"), path("client.key"))
	name, err = greet(t, server, redis.TLS)
	require.NoError(t, err)
	require.Equal(t, "second", name)

	stranger := writePair(t, "stranger", path("other.pem"), path("other.key"))
	_, err = greet(t, stranger, redis.TLS)
	require.ErrorContains(t, err, "certificate")

	named := settings.Redis.TLS
	named.ServerName = "redis.internal"
	cfg, err := named.Config()
	require.NoError(t, err)
	_, err = greet(t, server, cfg)
	require.NoError(t, err)

	named.ServerName = "elsewhere"
	cfg, err = named.Config()
	require.NoError(t, err)
	_, err = greet(t, server, cfg)
	require.ErrorContains(t, err, "elsewhere")
}

func TestFilesThatAreNoCertificates(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	base := []string{"OFFLINE_KAFKA__TLS__ENABLED=true"}

	err := refused(t, config.Sources{Environ: append(base, "OFFLINE_KAFKA__TLS__CA_FILE="+text)})
	require.ErrorContains(t, err, "kafka.tls.ca_file")
	require.ErrorContains(t, err, "no certificate")

	err = refused(t, config.Sources{Environ: append(base, "OFFLINE_KAFKA__TLS__CERT_FILE="+text, "OFFLINE_KAFKA__TLS__KEY_FILE="+text)})
	require.ErrorContains(t, err, "kafka.tls.cert_file")

	err = refused(t, config.Sources{Environ: []string{"OFFLINE_STORE__CA_FILE=" + text}})
	require.ErrorContains(t, err, "store.ca_file")
}

func TestNoTLSUnlessEnabled(t *testing.T) {
	kafka, err := config.Defaults().Kafka.Config()
	require.NoError(t, err)
	require.Nil(t, kafka.TLS)
	require.NoError(t, kafka.Validate())
}
