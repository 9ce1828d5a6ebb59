package peer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/metadata"
)

// serverName is what certificates derived from a secret are for: brokers have no
// names that a certificate could vouch for.
const serverName = "karst-peer"

// Credentials prove that a broker is of the cluster.
type Credentials struct {
	certificate tls.Certificate
	authority   *x509.CertPool
	name        string // of the server, to be verified; "" its host
}

// Of are the credentials that settings ask for: files, a secret, or the bucket's.
func Of(cfg config.Config, bucket metadata.Cluster) (*Credentials, error) {
	switch {
	case cfg.PeerCertificate != "":
		return OfFiles(cfg.PeerCertificate, cfg.PeerKey, cfg.PeerAuthorities)
	case cfg.PeerSecret != "":
		return OfSecret([]byte(cfg.PeerSecret), bucket.ID)
	default:
		return OfSecret(bucket.Secret[:], bucket.ID)
	}
}

// OfSecret derives credentials from what all brokers of a cluster know, at least
// 16 bytes. The authority is the same for all who know it; the certificate is of
// this process.
func OfSecret(secret []byte, cluster karst.ClusterID) (*Credentials, error) {
	if len(secret) < 16 {
		return nil, fmt.Errorf("a peer secret of %d bytes: it needs 16 at least", len(secret))
	}
	seed, err := hkdf.Key(sha256.New, secret, cluster[:], "karst peer authority", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	signer := ed25519.NewKeyFromSeed(seed)
	// The same bytes in every process: no time, no randomness.
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "karst cluster " + cluster.String()},
		NotBefore: validFrom, NotAfter: validTo, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	if authority, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: validFrom, NotAfter: validTo, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), signer); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return &Credentials{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority: pool, name: serverName,
	}, nil
}

// Derived certificates hold as long as the secret does: clocks decide nothing.
var (
	validFrom = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	validTo   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280: no end
)

// OfFiles reads credentials that an operator made: PEM files of the broker's
// certificate and key, and of the authorities whose certificates are accepted.
// The certificate has to be good for client and server, and for the host of the
// broker's peer address.
func OfFiles(certificate, key, authorities string) (*Credentials, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("peer certificate: %w", err)
	}
	pem, err := os.ReadFile(authorities)
	if err != nil {
		return nil, fmt.Errorf("peer authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("peer authorities: %s has no certificate", authorities)
	}
	return &Credentials{certificate: pair, authority: pool}, nil
}

func (c *Credentials) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.authority, NextProtos: []string{"h2"},
	}
}

func (c *Credentials) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.certificate},
		RootCAs: c.authority, ServerName: c.name, NextProtos: []string{"h2"},
	}
}
