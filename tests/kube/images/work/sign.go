package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// sign asks istio.v1.auth.IstioCertificateService for a certificate, by hand, so that nothing of the
// mesh's own client is trusted to ask rightly. It prints the names in the certificate it gets.
func sign(tokenFile, address, rootFile, identity string) error {
	body, err := request(identity)
	if err != nil {
		return err
	}
	answer, err := call(tokenFile, address, rootFile, "/istio.v1.auth.IstioCertificateService/CreateCertificate", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if err := refused(answer); err != nil {
		return err
	}
	return names(data)
}

// call makes a gRPC call with a token, of a server that proves itself by the mesh's root.
func call(tokenFile, address, rootFile, method string, body io.Reader) (*http.Response, error) {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: trust(root), ForceAttemptHTTP2: true}}
	r, err := http.NewRequest(http.MethodPost, "https://"+address+method, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return client.Do(r)
}

// refused is the status of an answer that was read to its end, if it is not OK.
func refused(answer *http.Response) error {
	for _, h := range []http.Header{answer.Header, answer.Trailer} {
		if s := h.Get("Grpc-Status"); s != "" && s != "0" {
			return fmt.Errorf("grpc-status=%s %s", s, h.Get("Grpc-Message"))
		}
	}
	return nil
}

// trust verifies the chain alone: the name of the server is its identity, which is checked by hand.
func trust(root []byte) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	return &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}
}

// request is a gRPC message: IstioCertificateRequest{csr=1, validity_duration=3, metadata=4}.
func request(identity string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(identity)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{uri}}, key)
	if err != nil {
		return nil, err
	}
	m := field(nil, 1, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	m = binary.AppendUvarint(append(m, 3<<3), 3600)
	value := field(nil, 3, []byte(identity))                                // Value.string_value
	entry := field(field(nil, 1, []byte("ImpersonatedIdentity")), 2, value) // Struct.fields
	m = field(m, 4, field(nil, 1, entry))
	return frame(m), nil
}

// frame is a gRPC message as it goes over the wire.
func frame(m []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

func field(to []byte, number byte, data []byte) []byte {
	to = binary.AppendUvarint(append(to, number<<3|2), uint64(len(data)))
	return append(to, data...)
}

// names prints what the first certificate of an answer says. Its PEM is found in the message as it is.
func names(data []byte) error {
	_, rest, ok := bytes.Cut(data, []byte("-----BEGIN CERTIFICATE-----"))
	if !ok {
		return errors.New("no certificate in the answer")
	}
	block, _ := pem.Decode(append([]byte("-----BEGIN CERTIFICATE-----"), rest...))
	if block == nil {
		return errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	for _, u := range cert.URIs {
		fmt.Println(u)
	}
	return nil
}
