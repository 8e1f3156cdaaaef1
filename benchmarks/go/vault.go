package main

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	readSecret = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	logged     = 10_000
)

// Secret is the version that is read.
type Secret struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Value       string `json:"value"`
	ID          string `json:"id"`
	Created     int64  `json:"created"`
	Level       string `json:"recovery_level"`
	Days        int    `json:"recoverable_days"`
	sealed      []byte
	sealedAbout []byte
}

// Vault reads a secret with the checks of Keyfob's own path: the token verified (and remembered by its SHA-256), its
// times, audience and tenant at every request, roles decided over the scope's ancestors (and remembered), the value
// decrypted for every answer, the decision written to a bounded log.
type Vault struct {
	world  *World
	keys   map[string]*rsa.PublicKey
	seal   cipher.AEAD
	secret Secret

	mu          sync.Mutex
	verified    map[[32]byte]*verified
	decisions   map[question]bool
	assignments map[string][]assignment // by principal
	log         []line
	next        int
}

type verified struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	Begins   int64  `json:"nbf"`
	Ends     int64  `json:"exp"`
	Tenant   string `json:"tid"`
	Object   string `json:"oid"`
}

type question struct{ principal, action, scope string }

type assignment struct {
	scope   string
	actions map[string]bool
}

type line struct {
	at      time.Time
	request string
	asked   question
	allowed bool
}

func newVault(world *World) *Vault {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		log.Fatal(err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		log.Fatal(err)
	}
	secret := world.Secret
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce)
	secret.sealedAbout = []byte(world.VaultID + "/" + secret.Name + "/" + secret.Version)
	secret.sealed = seal.Seal(nonce, nonce, []byte(secret.Value), secret.sealedAbout)
	secret.Value = ""
	return &Vault{
		world: world, keys: publicKeys(world.Keys), seal: seal, secret: secret,
		verified: map[[32]byte]*verified{}, decisions: map[question]bool{},
		assignments: map[string][]assignment{
			world.Caller: {{strings.ToLower(world.VaultID), map[string]bool{readSecret: true}}},
		},
		log: make([]line, logged),
	}
}

func (v *Vault) serve(mux *http.ServeMux) { mux.HandleFunc("/secrets/", v.read) }

type bundle struct {
	Value      string     `json:"value"`
	ID         string     `json:"id"`
	Attributes attributes `json:"attributes"`
}

type attributes struct {
	Enabled bool   `json:"enabled"`
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
	Level   string `json:"recoveryLevel"`
	Days    int    `json:"recoverableDays"`
}

func (v *Vault) read(w http.ResponseWriter, r *http.Request) {
	if r.Host != v.world.VaultHost {
		refuse(w, http.StatusNotFound, "VaultNotFound")
		return
	}
	if r.URL.Query().Get("api-version") != "7.4" {
		refuse(w, http.StatusBadRequest, "BadParameter")
		return
	}
	now := time.Now()
	caller, err := v.authenticate(r.Header.Get("Authorization"), now)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer resource="`+v.world.Audience+`"`)
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	name := strings.ToLower(strings.TrimPrefix(r.URL.Path, "/secrets/"))
	asked := question{caller.Object, readSecret, strings.ToLower(v.world.VaultID) + "/secrets/" + name}
	request := guid()
	if !v.decide(asked, request, now) {
		refuse(w, http.StatusForbidden, "Forbidden")
		return
	}
	if name != v.secret.Name {
		refuse(w, http.StatusNotFound, "SecretNotFound")
		return
	}
	value, err := v.seal.Open(nil, v.secret.sealed[:12], v.secret.sealed[12:], v.secret.sealedAbout)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "SealBroken")
		return
	}
	body, _ := json.Marshal(bundle{
		string(value), v.secret.ID,
		attributes{true, v.secret.Created, v.secret.Created, v.secret.Level, v.secret.Days},
	})
	head := w.Header()
	head.Set("Content-Type", "application/json; charset=utf-8")
	head.Set("Cache-Control", "no-cache")
	head.Set("Pragma", "no-cache")
	head.Set("Expires", "-1")
	head.Set("X-Ms-Keyvault-Region", v.world.Region)
	head.Set("X-Ms-Keyvault-Service-Version", "1.9.1532.1")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Strict-Transport-Security", "max-age=31536000;includeSubDomains")
	head.Set("X-Ms-Request-Id", request)
	_, _ = w.Write(body)
}

func (v *Vault) authenticate(authorization string, now time.Time) (*verified, error) {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return nil, errors.New("no bearer token")
	}
	digest := sha256.Sum256([]byte(token))
	v.mu.Lock()
	known := v.verified[digest]
	v.mu.Unlock()
	if known == nil {
		var err error
		if known, err = v.verify(token); err != nil {
			return nil, err
		}
		v.mu.Lock()
		v.verified[digest] = known
		v.mu.Unlock()
	}
	second := now.Unix()
	if second >= known.Ends || second < known.Begins || known.Audience != v.world.Audience ||
		known.Tenant != v.world.Tenant {
		return nil, errors.New("not this token")
	}
	return known, nil
}

func (v *Vault) verify(token string) (*verified, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("no JWT")
	}
	var header struct{ Alg, Kid string }
	if err := decode(parts[0], &header); err != nil || header.Alg != "RS256" {
		return nil, errors.New("no RS256")
	}
	key := v.keys[header.Kid]
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if key == nil || err != nil {
		return nil, errors.New("no key")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature); err != nil {
		return nil, err
	}
	found := &verified{}
	if err := decode(parts[1], found); err != nil || found.Issuer != v.world.Issuer {
		return nil, errors.New("no issuer of ours")
	}
	return found, nil
}

// decide remembers its decisions, walks from the scope to the root for one that is new, and logs every one.
func (v *Vault) decide(asked question, request string, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	allowed, known := v.decisions[asked]
	if !known {
		for _, granted := range v.assignments[asked.principal] {
			if granted.actions[asked.action] && within(asked.scope, granted.scope) {
				allowed = true
			}
		}
		v.decisions[asked] = allowed
	}
	v.log[v.next] = line{now, request, asked, allowed}
	v.next = (v.next + 1) % logged
	return allowed
}

func within(scope, outer string) bool {
	for {
		if scope == outer {
			return true
		}
		cut := strings.LastIndexByte(scope, '/')
		if cut < 0 {
			return false
		}
		scope = scope[:cut]
	}
}

func publicKeys(document []byte) map[string]*rsa.PublicKey {
	var set struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal(document, &set); err != nil {
		log.Fatal(err)
	}
	found := map[string]*rsa.PublicKey{}
	for _, key := range set.Keys {
		n, _ := base64.RawURLEncoding.DecodeString(key.N)
		e, _ := base64.RawURLEncoding.DecodeString(key.E)
		found[key.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return found
}

func decode(text string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func guid() string {
	data := make([]byte, 16)
	_, _ = rand.Read(data)
	data[6], data[8] = data[6]&0x0f|0x40, data[8]&0x3f|0x80
	text := hex.EncodeToString(data)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
