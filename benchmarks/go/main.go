// The peer: Go's own net/http doing what Keyfob does, with the standard library only. Plain HTTP on the first address,
// TLS on the second. It looks a host token up by the query's resource and checks one header; given a world (a JSON
// file), it also serves the keys document and the token service (directory.go) and a secret (vault.go).
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

// World is what the benchmark made in Keyfob, so that both servers know the same things.
type World struct {
	Keys         json.RawMessage `json:"keys"` // the keys document, as Keyfob publishes it
	Tenant       string          `json:"tenant"`
	Issuer       string          `json:"issuer"`
	ClientID     string          `json:"client_id"`
	ClientSecret string          `json:"client_secret"`
	ClientOID    string          `json:"client_oid"`
	Caller       string          `json:"caller"` // object id of the principal that may read the secret
	Audience     string          `json:"audience"`
	VaultHost    string          `json:"vault_host"`
	VaultID      string          `json:"vault_id"`
	Region       string          `json:"region"`
	Secret       Secret          `json:"secret"`
}

func main() {
	if len(os.Args) != 6 && len(os.Args) != 7 {
		log.Fatal("usage: peer PLAIN_ADDRESS TLS_ADDRESS PEM BODY_FILE RESOURCE [WORLD_FILE]")
	}
	body, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/metadata/identity/oauth2/token", hostToken(map[string][]byte{os.Args[5]: body}))
	if len(os.Args) == 7 {
		world := readWorld(os.Args[6])
		newDirectory(world).serve(mux)
		newVault(world).serve(mux)
	}
	go func() { log.Fatal(http.ListenAndServe(os.Args[1], mux)) }()
	fmt.Println("ready")
	// wrk ends its connections without a close_notify: nothing to write about
	server := &http.Server{Addr: os.Args[2], Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	log.Fatal(server.ListenAndServeTLS(os.Args[3], os.Args[3]))
}

func hostToken(tokens map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Metadata"), "true") {
			http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
			return
		}
		token, ok := tokens[r.URL.Query().Get("resource")]
		if !ok {
			http.Error(w, `{"error":"invalid_resource"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(token)
	}
}

func readWorld(path string) *World {
	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	world := &World{}
	if err := json.Unmarshal(data, world); err != nil {
		log.Fatal(err)
	}
	return world
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"error":{"code":"` + code + `"}}`))
}
