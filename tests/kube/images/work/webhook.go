package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// webhook is an admission webhook on :8443 with the certificate of its environment (CERT and KEY, PEM). It
// refuses what carries the label forbidden, so that its answers can be told from nobody's.
func webhook() error {
	cert, err := tls.X509KeyPair([]byte(os.Getenv("CERT")), []byte(os.Getenv("KEY")))
	if err != nil {
		return fmt.Errorf("certificate of the webhook: %w", err)
	}
	s := &http.Server{Addr: ":8443", Handler: http.HandlerFunc(review), ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	return s.ListenAndServeTLS("", "")
}

func review(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Request struct {
			UID    string `json:"uid"`
			Object struct {
				Metadata struct {
					Labels map[string]string `json:"labels"`
				} `json:"metadata"`
			} `json:"object"`
		} `json:"request"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, forbidden := in.Request.Object.Metadata.Labels["forbidden"]
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"response": map[string]any{"uid": in.Request.UID, "allowed": !forbidden, "status": map[string]any{"message": "the webhook forbids it"}},
	})
}
