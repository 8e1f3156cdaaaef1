// The peer: Go's own net/http doing what Keyfob's hot path does. It looks a token up by the query's resource, checks
// one header, and answers about 1.9 kB of JSON. Plain on the first address, TLS on the second.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: peer PLAIN_ADDRESS TLS_ADDRESS PEM BODY_FILE RESOURCE")
	}
	body, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	tokens := map[string][]byte{os.Args[5]: body}
	mux := http.NewServeMux()
	mux.HandleFunc("/metadata/identity/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
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
	})
	go func() { log.Fatal(http.ListenAndServe(os.Args[1], mux)) }()
	fmt.Println("ready")
	log.Fatal(http.ListenAndServeTLS(os.Args[2], os.Args[3], os.Args[3], mux))
}
