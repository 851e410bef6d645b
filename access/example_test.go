package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/access"
)

// Verify a token that an application has signed with a shared secret, and ask which
// actions it allows.
func ExampleOpen() {
	secret := []byte("a secret of at least thirty-two bytes")
	verifier, err := access.Open(access.Options{Secrets: [][]byte{secret}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer verifier.Close()

	token, err := access.Mint(secret, access.TokenSpec{
		Subject: "ann",
		Life:    time.Hour,
		Scopes:  access.Scopes{Subscribe: []string{"chat:*"}, Publish: []string{"typing:{sub}"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	grant, err := verifier.Verify(context.Background(), token)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("user:", grant.User())
	fmt.Println("subscribe to chat:1:", grant.Allows(access.Subscribe, "chat:1"))
	fmt.Println("publish to chat:1:", grant.Allows(access.Publish, "chat:1"))
	fmt.Println("publish to typing:ann:", grant.Allows(access.Publish, "typing:ann"))

	_, err = verifier.Verify(context.Background(), token+"x")
	fmt.Println("a changed token:", errors.Is(err, access.ErrCredential))
	// Output:
	// user: ann
	// subscribe to chat:1: true
	// publish to chat:1: false
	// publish to typing:ann: true
	// a changed token: true
}

// Create an API key for a program that publishes. The program keeps the key; the server's
// configuration gets only its hash.
func ExampleNewKey() {
	key, hash := access.NewKey()
	entry, err := access.ParseKey(hash.String() + "=publish:news publish:chat:*")
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := access.Open(access.Options{Keys: []access.Key{entry}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer verifier.Close()

	grant, err := verifier.Verify(context.Background(), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("publish to news:", grant.Allows(access.Publish, "news"))
	fmt.Println("subscribe to news:", grant.Allows(access.Subscribe, "news"))
	// Output:
	// publish to news: true
	// subscribe to news: false
}

// Parse an API key's entry of the configuration.
func ExampleParseKey() {
	hash := strings.Repeat("0f", 32)
	key, err := access.ParseKey(hash + "=publish:chat:* admin")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key.Scopes.Publish, key.Scopes.Admin)

	_, err = access.ParseKey(hash)
	fmt.Println(err)
	// Output:
	// [chat:*] true
	// not a valid API key entry: a key needs scopes: want one like HASH=publish:PATTERN
}
