package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Directory publishes the keys document, encoded once, and signs a new token for every request, with an RSA-2048 key
// of its own: nothing that is signed is ever remembered, there or here.
type Directory struct {
	world  *World
	key    *rsa.PrivateKey
	header string // encoded JWT header, with its dot
	memo   []byte // key of the marks of verified secrets
	stored [32]byte
	mu     sync.Mutex
	good   map[[32]byte]time.Time
}

func newDirectory(world *World) *Directory {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	head := encode([]byte(`{"typ":"JWT","alg":"RS256","x5t":"` + opaque(20) + `","kid":"` + opaque(20) + `"}`))
	return &Directory{
		world: world, key: key, header: head + ".", memo: []byte(opaque(32)),
		stored: sha256.Sum256([]byte(world.ClientSecret)), good: map[[32]byte]time.Time{},
	}
}

func (d *Directory) serve(mux *http.ServeMux) {
	mux.HandleFunc("/common/discovery/v2.0/keys", d.keys)
	mux.HandleFunc("/"+d.world.Tenant+"/oauth2/v2.0/token", d.token)
}

func (d *Directory) keys(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	head.Set("Cache-Control", "max-age=86400, private")
	head.Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(d.world.Keys)
}

type claims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	Issued   int64  `json:"iat"`
	Begins   int64  `json:"nbf"`
	Ends     int64  `json:"exp"`
	Provider string `json:"idp"`
	Tenant   string `json:"tid"`
	Version  string `json:"ver"`
	AppID    string `json:"appid"`
	Proof    string `json:"appidacr"`
	Type     string `json:"idtyp"`
	Object   string `json:"oid"`
	Subject  string `json:"sub"`
	Name     string `json:"app_displayname"`
	Aio      string `json:"aio"`
	Rh       string `json:"rh"`
	Uti      string `json:"uti"`
}

type granted struct {
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	Longer  int    `json:"ext_expires_in"`
	Token   string `json:"access_token"`
}

func (d *Directory) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.ParseForm() != nil {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	form := r.PostForm
	for _, values := range form {
		if len(values) != 1 {
			refuse(w, http.StatusBadRequest, "invalid_request")
			return
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if form.Get("client_id") != d.world.ClientID || !d.right(form.Get("client_secret")) {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	audience, ok := strings.CutSuffix(form.Get("scope"), "/.default")
	if !ok || audience != d.world.Audience {
		refuse(w, http.StatusBadRequest, "invalid_scope")
		return
	}
	token, err := d.sign(audience)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error")
		return
	}
	body, _ := json.Marshal(granted{"Bearer", 3599, 3599, token})
	head := w.Header()
	head.Set("Cache-Control", "no-store, no-cache")
	head.Set("Pragma", "no-cache")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}

// right remembers a verified secret by an HMAC over what is stored and what was given. A slow hash would be checked the
// first time only, so it changes nothing here.
func (d *Directory) right(secret string) bool {
	mac := hmac.New(sha256.New, d.memo)
	mac.Write(d.stored[:])
	mac.Write([]byte{0})
	mac.Write([]byte(secret))
	mark := [32]byte(mac.Sum(nil))
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if until, ok := d.good[mark]; ok && now.Before(until) {
		return true
	}
	given := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(given[:], d.stored[:]) != 1 {
		return false
	}
	d.good[mark] = now.Add(10 * time.Minute)
	return true
}

func (d *Directory) sign(audience string) (string, error) {
	now := time.Now().Unix() - 300
	body, err := json.Marshal(claims{
		audience, d.world.Issuer, now, now, now + 3899, d.world.Issuer, d.world.Tenant, "1.0", d.world.ClientID, "1",
		"app", d.world.ClientOID, d.world.ClientOID, "Keyfob operator", opaque(24), "0.A" + opaque(24) + ".", opaque(16),
	})
	if err != nil {
		return "", err
	}
	signed := d.header + encode(body)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, d.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encode(signature), nil
}

func opaque(size int) string {
	data := make([]byte, size)
	_, _ = rand.Read(data)
	return encode(data)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
