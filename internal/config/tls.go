package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Config builds what a client dials with: nil when TLS is off. The client
// certificate is read again for every handshake; the CA file is not.
func (t TLS) Config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	roots, err := t.roots()
	if err != nil {
		return nil, fmt.Errorf("ca_file %q %w", t.CAFile, err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: t.ServerName}
	if t.CertFile == "" {
		return cfg, nil
	}
	if _, err := t.certificate(); err != nil {
		return nil, fmt.Errorf("cert_file %q %w", t.CertFile, err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.certificate() }
	return cfg, nil
}

// roots is nil for the system's certificates.
func (t TLS) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	pem, err := readSmall(t.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("holds no certificate in PEM")
	}
	return pool, nil
}

func (t TLS) certificate() (*tls.Certificate, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("and key_file cannot be used: %w", err)
	}
	return &pair, nil
}
